//! A folder of modules, changed as an operator would.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tidegate_hostile::{WORLD, with_world};

use crate::tools;

/// The folder of modules of one company.
#[derive(Debug)]
pub struct Modules(PathBuf);

impl Modules {
    /// The folder `company` below `modules`; made when the first file is put in.
    #[must_use]
    pub fn of(modules: &Path, company: &str) -> Self {
        Self(modules.join(company))
    }

    /// Puts a file in place at once, as `mv` does.
    ///
    /// # Errors
    /// It can't be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs::create_dir_all(&self.0)?;
        // Beside the folder and not in it: there the host could take it for a module.
        let partial = self.0.with_extension("partial");
        fs::write(&partial, bytes).with_context(|| format!("write {}", partial.display()))?;
        fs::rename(&partial, self.0.join(name)).with_context(|| format!("put {name}"))
    }

    /// Puts the shipped filter `rename` in place, set to give metrics the type `kind`. Its settings come first, so that
    /// the module never runs with others.
    ///
    /// # Errors
    /// It isn't built, or can't be written.
    pub fn rename_metrics(&self, name: &str, kind: &str) -> Result<()> {
        self.put(&format!("{name}.toml"), format!("[config.types]\nmetric_updated = \"{kind}\"\n").as_bytes())?;
        let module = fs::read(tools::filter("rename")?)?;
        if fs::read(self.0.join(format!("{name}.wasm"))).is_ok_and(|present| present == module) {
            return Ok(());
        }
        self.put(&format!("{name}.wasm"), &module)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// It isn't there.
    pub fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.0.join(name)).with_context(|| format!("remove {name}"))
    }
}

/// A folder as Kubernetes mounts a ConfigMap: what is in it are links through `..data`, a link itself, to the present
/// version; a new one is put beside it, and `..data` is replaced at once.
#[derive(Debug)]
pub struct Volume {
    dir: PathBuf,
    version: u32,
}

impl Volume {
    /// Mounted here; empty yet.
    #[must_use]
    pub fn at(dir: PathBuf) -> Self {
        Self { dir, version: 0 }
    }

    /// Replaces everything in it. A name may hold one folder, as the path of a ConfigMap's item may.
    ///
    /// # Errors
    /// It can't be written.
    pub fn publish(&mut self, files: &[(&str, &[u8])]) -> Result<()> {
        use std::os::unix::fs::symlink;
        let before = self.dir.join(format!("..v{}", self.version));
        self.version += 1;
        let name = format!("..v{}", self.version);
        let mut links = std::collections::BTreeSet::new();
        for (file, bytes) in files {
            let path = self.dir.join(&name).join(file);
            fs::create_dir_all(path.parent().context("a file in a folder")?)?;
            fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
            links.extend(file.split('/').next());
        }
        let (data, partial) = (self.dir.join("..data"), self.dir.join("..data_tmp"));
        symlink(&name, &partial)?;
        fs::rename(&partial, &data).context("replace ..data")?;
        for link in links {
            if self.dir.join(link).symlink_metadata().is_err() {
                symlink(Path::new("..data").join(link), self.dir.join(link))?;
            }
        }
        if before.exists() {
            fs::remove_dir_all(before)?;
        }
        Ok(())
    }
}

/// The module with something more in it that changes nothing but its digest.
#[must_use]
pub fn another_version(module: &[u8]) -> Vec<u8> {
    // A custom section: id 0, its size, its name with its length.
    [module, &[0, 6, 5], b"other"].concat()
}

/// One of many modules with the same behaviour and other code: a number in a section that nobody reads.
#[must_use]
pub(crate) fn distinct(module: &[u8], number: u32) -> Vec<u8> {
    let mut code = another_version(module);
    // Another section, with a name of one byte.
    code.extend([0, 6, 1, b'v']);
    code.extend(number.to_le_bytes());
    code
}

/// A filter that may keep state, and passes JSON on as it is.
///
/// # Errors
/// It can't be put together.
pub fn stateful() -> Result<Vec<u8>> {
    Ok(with_world(include_str!("../../host/filter/src/tests/guest.wat"), WORLD))
}

/// The same, told what to do by the events of [`commanded`]: `.` passes, `t` traps, `l` loops for ever, `m` takes memory
/// without end, `e` is an error, `g` returns garbage, `w` works for a while, `s` remembers the event, `r` says what it
/// remembers.
///
/// # Errors
/// It can't be put together.
pub fn obedient() -> Result<Vec<u8>> {
    // Its own tests put the command first; an event that the platform filter takes is JSON.
    let text = include_str!("../../host/filter/src/tests/guest.wat");
    const FIRST: &str = "(local.set $what (i32.load8_u (local.get $at)))";
    ensure!(text.contains(FIRST), "the test guest reads its command elsewhere");
    Ok(with_world(&text.replace(FIRST, "(local.set $what (i32.load8_u offset=7 (local.get $at)))"), WORLD))
}

/// An event of a company for [`obedient`].
#[must_use]
pub fn commanded(command: char, company: &str, n: u64) -> String {
    format!(r#"{{"do":"{command}","companyId":"{company}","n":{n}}}"#)
}
