//! What can be looked at without a server: configuration, folders, modules, clock.

use super::Finding;
use crate::clock::Clock;
use crate::config::{AccessMode, Config};
use crate::http::identify::AccessState;
use crate::modules::folder::{Folder, FolderSettings};
use crate::telemetry::Metrics;
use std::path::{Path, PathBuf};
use tidegate_filter::{Engine, EngineSettings};

/// The second of January 2025, in milliseconds since 1970: a clock before that was never set.
const CLOCK_MS_MIN: u64 = 1_735_776_000_000;

pub(super) fn configuration(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = config
        .warnings
        .iter()
        .map(|warning| Finding::warning("configuration", warning, "see the key in the message"))
        .collect();
    match AccessState::new(config, Clock::system()) {
        Err(error) => {
            findings.push(Finding::wrong("access", error.to_string(), "set the key to one of those accepted"))
        }
        Ok(_) => findings.push(Finding::ok(
            "access",
            match config.access.mode {
                AccessMode::Open => format!("open on {}", config.http.listen),
                AccessMode::Jwt => format!("tokens with {:?}", config.access.jwt.algorithms),
            },
        )),
    }
    findings.insert(0, Finding::ok("configuration", "every key can be read"));
    findings
}

pub(super) fn data(config: &Config) -> Vec<Finding> {
    let dir = &config.data.dir;
    // The host makes what is missing; doctor looks whether it could, in the nearest folder that is there.
    let there = dir.ancestors().find(|path| path.exists()).filter(|path| !path.as_os_str().is_empty());
    let there = there.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let probe = there.join(format!(".tidegate-doctor-{}", std::process::id()));
    let written = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe));
    vec![match written {
        Ok(()) if *dir == there => Finding::ok("data.dir", format!("{} can be written", dir.display())),
        Ok(()) => Finding::ok("data.dir", format!("{} is not there yet and can be made", dir.display())),
        Err(error) => Finding::wrong(
            "data.dir",
            format!("{} can not be written: {error}", there.display()),
            "let the host's user write there, or set data.dir",
        ),
    }]
}

pub(super) fn modules(config: &Config) -> Vec<Finding> {
    let dir = &config.filters.dir;
    if !dir.exists() {
        return vec![Finding::ok(
            "filters.dir",
            format!("{} is not there: the built-in platform chain alone", dir.display()),
        )];
    }
    if let Err(error) = std::fs::read_dir(dir) {
        let way = "let the host's user read it, or set filters.dir";
        return vec![Finding::wrong("filters.dir", format!("{} can not be read: {error}", dir.display()), way)];
    }
    // The host's own look at the folder, so that its verdict is this one.
    let metrics = Metrics::new();
    let settings =
        FolderSettings { dir: dir.clone(), limits: config.filters.limits, limits_max: config.filters.limits_max };
    let opened = Engine::new(EngineSettings { compile_parallel: true, ..EngineSettings::default() })
        .and_then(|engine| Folder::open(engine, settings, None, metrics, Clock::system()));
    let folder = match opened {
        Ok(folder) => folder,
        Err(error) => {
            return vec![Finding::wrong("filters.dir", error.to_string(), "this machine can not run filters")];
        }
    };
    let (mut refused, mut own) = (Vec::new(), 0);
    for name in folder.names() {
        match folder.chain(name) {
            Some(Ok(chain)) => own += chain.filters().len(),
            Some(Err(refusal)) => refused.push(Finding::wrong(
                "filters.dir",
                format!("{name}/{}.wasm: {}", refusal.file, refusal.reason),
                "mend or remove the file (`tidegate check FILE` gives the verdict); until then its folder's last good chain runs, or its company's events wait",
            )),
            None => {}
        }
    }
    if !refused.is_empty() {
        return refused;
    }
    vec![Finding::ok("filters.dir", format!("{own} filters in {} load", dir.display()))]
}

pub(super) fn clock() -> Vec<Finding> {
    let now_ms = Clock::system().now_ms();
    vec![if now_ms < CLOCK_MS_MIN {
        Finding::wrong("clock", "this machine's clock stands before 2025", "set it, and keep it with NTP")
    } else {
        let now = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(now_ms) * 1_000_000).ok();
        let text = now.and_then(|now| now.format(&time::format_description::well_known::Rfc3339).ok());
        Finding::ok("clock", text.unwrap_or_else(|| format!("{now_ms} ms since 1970")))
    }]
}
