//! The compiler of filters in C: clang with wasi-libc, of which nothing but memory and strings ends up in a filter.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::output;
use crate::packages::{Packages, install, which};

/// What clang compiles filters for; the filter itself imports nothing of WASI.
const TARGET: &str = "wasm32-wasi";

/// What shows whether clang finds a linker, a C library and its own runtime for the target.
const PROBE: &str = "#include <stdlib.h>\n#include <string.h>\nvoid *probe(const char *t) { return strdup(t); }\n";

/// A clang that builds for WebAssembly.
#[derive(Clone, Debug)]
pub struct Clang {
    program: PathBuf,
    /// What `clang --version` prints first: builds are the same byte for byte only where it is the same.
    pub version: String,
}

impl Clang {
    /// Finds it: in `WASI_SDK_PATH`, else on the path; and sees that it has all that it needs.
    ///
    /// # Errors
    /// There is none, or a part of it is missing: the text holds the command to type.
    pub fn ensure(packages: Packages) -> Result<Self> {
        let first = match Self::find() {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let runtime = Self::runtime_package();
        let names = ["clang", "lld", "wasi-libc", &runtime];
        let otherwise = "export WASI_SDK_PATH=FOLDER, where a release of github.com/WebAssembly/wasi-sdk is unpacked";
        let told = format!("C for WebAssembly can't be compiled here: {first:#}");
        install(&names, packages, otherwise).context(told)?;
        Self::find()
    }

    fn find() -> Result<Self> {
        let sdk = std::env::var_os("WASI_SDK_PATH").filter(|folder| !folder.is_empty());
        let program = match sdk {
            Some(folder) => Path::new(&folder).join("bin/clang"),
            None => which("clang").context("there is no clang")?,
        };
        let version = output(Command::new(&program).arg("--version"))?;
        let found = Self { program, version: version.lines().next().unwrap_or_default().to_owned() };
        found.probe()?;
        Ok(found)
    }

    fn probe(&self) -> Result<()> {
        let mut command = self.command();
        command.args(["-Wl,--export=probe", "-x", "c", "-", "-o", "/dev/null"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {}", self.program.display()))?;
        if let Some(mut input) = child.stdin.take() {
            // One that has ended says why below.
            input.write_all(PROBE.as_bytes()).ok();
        }
        let done = child.wait_with_output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            let first = said.lines().find(|line| line.contains("error")).unwrap_or("it failed without a word");
            bail!("{}: {first}", self.program.display());
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(format!("--target={TARGET}")).args(["-mexec-model=reactor", "-O2"]);
        command
    }

    /// Compiles `sources` of `folder`, whose headers lie in `headers`, into the module `module`. What the compiler says
    /// goes to the standard error.
    ///
    /// # Errors
    /// It can't be run. `Ok(false)` where the sources do not compile, which it has told.
    pub fn build(
        &self,
        folder: &Path,
        sources: &[PathBuf],
        headers: &Path,
        module: &Path,
        lines: bool,
    ) -> Result<bool> {
        let mut command = self.command();
        command.current_dir(folder).args(["-std=c11", "-Wall", "-Wextra"]);
        // Paths as they stand in the folder, so that the module is the same wherever it lies.
        command.arg(format!("-ffile-prefix-map={}=.", folder.display())).arg("-I").arg(headers);
        if lines {
            command.arg("-g");
        }
        // A stack that overflows must trap and not write into the filter's own data.
        command.args(["-Wl,--stack-first", "-Wl,-z,stack-size=262144"]).args(sources).arg("-o").arg(module);
        let status = command.stdin(Stdio::null()).status();
        Ok(status.with_context(|| format!("run {}", self.program.display()))?.success())
    }

    /// The package with clang's own runtime: Debian's bears the version of clang in its name.
    pub fn runtime_package() -> String {
        let policy = output(Command::new("apt-cache").args(["show", "clang"])).unwrap_or_default();
        // `Version: 1:14.0-55.7~deb12u1`
        let version = policy.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap_or_default();
        let major = version.rsplit(':').next().and_then(|version| version.split('.').next()).unwrap_or_default();
        let major = if major.is_empty() { "14" } else { major };
        format!("libclang-rt-{major}-dev-wasm32")
    }
}
