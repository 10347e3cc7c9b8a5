//! The tool chains of filters in JavaScript and Python: an interpreter and the author's files, made one component.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cache_folder, output};

/// The version of npm's `@bytecodealliance/componentize-js` that the SDK is tested with.
pub const COMPONENTIZE_JS: &str = "0.23.0";
/// The version of PyPI's `componentize-py` that the SDK is tested with.
pub const COMPONENTIZE_PY: &str = "0.25.0";

/// What makes a component of a project in JavaScript.
#[derive(Clone, Debug)]
pub struct ComponentizeJs {
    package: PathBuf,
    /// Its name and version: builds are the same byte for byte only where it is the same.
    pub version: String,
}

impl ComponentizeJs {
    /// Finds it: in the `node_modules` of the project or of a folder around it, else in the user's cache.
    ///
    /// # Errors
    /// There is none, or no Node: the text holds the command to type.
    pub fn find(project: &Path) -> Result<Self> {
        let node = output(Command::new("node").arg("--version"))
            .context("JavaScript can't be built here: install Node 20.19 or later, with npm")?;
        let around = project.ancestors().map(|folder| folder.join("node_modules"));
        let cached = js_folder()?.join("node_modules");
        let mut folders = around.chain([cached]).map(|folder| folder.join("@bytecodealliance/componentize-js"));
        let Some(folder) = folders.find(|folder| folder.join("src/componentize.js").is_file()) else {
            bail!(
                "JavaScript can't be built here: there is no @bytecodealliance/componentize-js\n\
                 type: (cd {} && npm ci)",
                project.display()
            );
        };
        let manifest = std::fs::read_to_string(folder.join("package.json")).unwrap_or_default();
        let version = manifest.split("\"version\": \"").nth(1).and_then(|rest| rest.split('"').next());
        let version = format!("componentize-js {}, node {node}", version.unwrap_or("of an unknown version"));
        Ok(Self { package: folder, version })
    }

    /// Makes the component `module`, by the SDK's own script; all paths are in `folder`.
    ///
    /// # Errors
    /// It can't be run. `Ok(false)` where there is no component, which it has told.
    pub fn build(&self, folder: &Path, script: &Path, wit: &Path, module: &Path) -> Result<bool> {
        let mut command = Command::new("node");
        command.current_dir(folder).arg(script).arg(&self.package).arg(wit).arg(module);
        let status = command.stdin(Stdio::null()).status().context("run node")?;
        Ok(status.success() && folder.join(module).is_file())
    }
}

/// Where the npm packages are kept that serve every project of the user.
///
/// # Errors
/// As [`cache_folder`].
pub fn js_folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join("node").join(format!("componentize-js-{COMPONENTIZE_JS}")))
}

/// What makes a component of a project in Python.
#[derive(Clone, Debug)]
pub struct ComponentizePy {
    program: PathBuf,
    /// Its name and version: builds are the same byte for byte only where it is the same.
    pub version: String,
}

impl ComponentizePy {
    /// Finds it: in the project's `.venv`, else in the user's cache, else on the path.
    ///
    /// # Errors
    /// There is none: the text holds the command to type.
    pub fn find(project: &Path) -> Result<Self> {
        let cached = py_folder()?;
        let places = [project.join(".venv/bin/componentize-py"), cached.join("bin/componentize-py")];
        let program = places.into_iter().find(|path| path.is_file());
        let Some(program) = program.or_else(|| crate::packages::which("componentize-py")) else {
            bail!(
                "Python can't be built here: there is no componentize-py\n\
                 type: python3 -m venv {0} && {0}/bin/pip install componentize-py=={COMPONENTIZE_PY}",
                cached.display()
            );
        };
        let version = output(Command::new(&program).arg("--version"))?;
        Ok(Self { program, version })
    }

    /// Makes the component `module` of the module `entry`, found on `paths`; all paths are in `folder`.
    ///
    /// # Errors
    /// It can't be run. `Ok(false)` where there is no component, which it has told.
    pub fn build(&self, folder: &Path, entry: &str, paths: &[&str], wit: &Path, module: &Path) -> Result<bool> {
        let mut command = Command::new(&self.program);
        command.current_dir(folder).arg("--quiet").arg("--wit-path").arg(wit).args(["--world", "filter"]);
        command.arg("componentize");
        for path in paths {
            command.arg("--python-path").arg(path);
        }
        // Whatever asks for an operating system fails: a filter has none.
        command.args(["--stub-wasi", entry, "--output"]).arg(module);
        // Packages of whoever builds are no part of a filter.
        command.env_remove("VIRTUAL_ENV").env_remove("PYTHONPATH");
        let status = command.stdin(Stdio::null()).status();
        let status = status.with_context(|| format!("run {}", self.program.display()))?;
        Ok(status.success() && folder.join(module).is_file())
    }
}

/// The environment that serves every project of the user.
///
/// # Errors
/// As [`cache_folder`].
pub fn py_folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join("python").join(format!("componentize-py-{COMPONENTIZE_PY}")))
}
