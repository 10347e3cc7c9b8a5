//! The page's switches: each moves a sample filter in or out of its company's folder, as an operator would.

use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// One sample filter of a company.
struct Sample {
    company: &'static str,
    name: &'static str,
    title: &'static str,
    wasm: &'static [u8],
    settings: &'static str,
    on: bool,
}

const DEDUP: &[u8] = include_bytes!("../../../../filters/dedup/dedup.wasm");
const REDACT: &[u8] = include_bytes!("../../../../filters/redact/redact.wasm");
const RENAME: &[u8] = include_bytes!("../../../../filters/rename/rename.wasm");
const SESSION: &[u8] = include_bytes!("../../../../filters/session/session.wasm");
const THRESHOLD: &[u8] = include_bytes!("../../../../filters/threshold/threshold.wasm");
const WINDOW: &[u8] = include_bytes!("../../../../filters/window/window.wasm");

const SAMPLES: [Sample; 7] = [
    Sample {
        company: "company-a",
        name: "10-dedup",
        title: "One journey flag of a user a minute",
        wasm: DEDUP,
        settings: "[config]\npointer = \"/userId\"\nwindow = 60\ntypes = [\"journey_flag_updated\"]\n",
        on: false,
    },
    Sample {
        company: "company-a",
        name: "20-threshold",
        title: "Only metrics of 0.5 and above",
        wasm: THRESHOLD,
        settings: "[config]\npointer = \"/value\"\nmin = 0.5\ntypes = [\"metric_updated\"]\n",
        on: false,
    },
    Sample {
        company: "company-a",
        name: "30-redact",
        title: "Hide who caused a journey flag",
        wasm: REDACT,
        settings: "[config]\npointers = [\"/userId\"]\nreplace = \"(hidden)\"\n",
        on: true,
    },
    Sample {
        company: "company-b",
        name: "20-threshold",
        title: "Only metrics of 0.8 and above",
        wasm: THRESHOLD,
        settings: "[config]\npointer = \"/value\"\nmin = 0.8\ntypes = [\"metric_updated\"]\n",
        on: false,
    },
    Sample {
        company: "company-b",
        name: "40-window",
        title: "Each metric's mean, ten seconds at a time",
        wasm: WINDOW,
        settings: "[config]\nlength = 10\npointer = \"/value\"\ngroup = \"/metricName\"\ntypes = [\"metric_updated\"]\n",
        on: true,
    },
    Sample {
        company: "company-c",
        name: "20-rename",
        title: "Show VIS updates as metrics",
        wasm: RENAME,
        settings: "[config.types]\nvis_updated = \"metric_updated\"\n",
        on: false,
    },
    Sample {
        company: "company-c",
        name: "40-session",
        title: "What a user did, once quiet for twenty seconds",
        wasm: SESSION,
        settings: "[config]\nuser = \"/userId\"\nstage = \"/flag\"\nquiet = 20\ntypes = [\"journey_flag_updated\"]\n",
        on: true,
    },
];

/// A switch, as the page lists it.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    company: &'static str,
    name: &'static str,
    title: &'static str,
    on: bool,
}

/// The sample filters in the folder of modules.
#[derive(Debug)]
pub(super) struct Switches {
    modules: PathBuf,
}

impl Switches {
    /// Writes the samples that are not there, switched on or put by.
    pub(super) fn prepare(modules: &Path) -> io::Result<Self> {
        let switches = Self { modules: modules.to_owned() };
        for sample in &SAMPLES {
            std::fs::create_dir_all(modules.join(sample.company))?;
            let (on, off) = switches.paths(sample);
            if !on.exists() && !off.exists() {
                std::fs::write(switches.settings(sample), sample.settings)?;
                write_whole(if sample.on { &on } else { &off }, sample.wasm)?;
            }
        }
        Ok(switches)
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        SAMPLES.iter().map(|sample| self.listed(sample)).collect()
    }

    /// Switches a filter; `None`: there is no such one.
    pub(super) fn set(&self, company: &str, name: &str, on: bool) -> io::Result<Option<Listed>> {
        let Some(sample) = SAMPLES.iter().find(|sample| sample.company == company && sample.name == name) else {
            return Ok(None);
        };
        let (file, aside) = self.paths(sample);
        let (from, to) = if on { (aside, file) } else { (file, aside) };
        if from.exists() {
            std::fs::rename(&from, &to)?;
        }
        Ok(Some(self.listed(sample)))
    }

    fn listed(&self, sample: &Sample) -> Listed {
        let on = self.paths(sample).0.exists();
        Listed { company: sample.company, name: sample.name, title: sample.title, on }
    }

    fn paths(&self, sample: &Sample) -> (PathBuf, PathBuf) {
        let folder = self.modules.join(sample.company);
        (folder.join(format!("{}.wasm", sample.name)), folder.join(format!("{}.wasm.off", sample.name)))
    }

    fn settings(&self, sample: &Sample) -> PathBuf {
        self.modules.join(sample.company).join(format!("{}.toml", sample.name))
    }
}

/// Beside the file first, then under its name: nobody sees half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_moves_its_filter_in_and_out() {
        let folder = std::env::temp_dir().join(format!("tidegate-switches-{}", std::process::id()));
        let switches = Switches::prepare(&folder).unwrap();
        assert!(switches.set("company-a", "20-threshold", true).unwrap().unwrap().on);
        assert!(folder.join("company-a/20-threshold.wasm").exists());
        assert!(!switches.set("company-a", "20-threshold", false).unwrap().unwrap().on);
        assert!(switches.set("company-a", "../x", true).unwrap().is_none());
        assert!(switches.list().iter().any(|listed| listed.name == "30-redact" && listed.on));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
