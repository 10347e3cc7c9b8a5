//! The tool chains of filters in C, JavaScript and Python, where `tidegate build` looks for them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tidegate_guest_build::{COMPONENTIZE_PY, Clang, Packages, js_folder, output, py_folder};

use super::{apt, node, python};
use crate::build::root;
use crate::step::say;

/// What a new project in JavaScript pins: the same is installed for all of them.
const PACKAGE: &str = "host/server/src/cli/new/js";

/// Finds or installs all three.
///
/// # Errors
/// What can't be had: the text holds the command to type.
pub(crate) fn ensure() -> Result<()> {
    let clang = match Clang::ensure(Packages::Tell) {
        Ok(clang) => clang,
        Err(_) => {
            // Before the list of packages is known, so is no version of clang.
            output(Command::new("apt-get").arg("update")).ok();
            apt::install(&["clang", "lld", "wasi-libc", &Clang::runtime_package()])?;
            Clang::ensure(Packages::Tell)?
        }
    };
    say(&format!("       C: {}", clang.version));
    let package = format!("componentize-py=={COMPONENTIZE_PY}");
    let python = python::environment(&py_folder()?, "componentize-py", &[package])?;
    say(&format!("       Python: {}", python.display()));
    let folder = js_folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        copy(&root().join(PACKAGE).join(format!("{name}.in")), &folder.join(name))?;
    }
    node::packages(&folder)?;
    say(&format!("       JavaScript: {}", folder.display()));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let text = fs::read_to_string(from).with_context(|| format!("read {}", from.display()))?;
    fs::write(to, text.replace("NAME", "every-filter")).with_context(|| format!("write {}", to.display()))
}
