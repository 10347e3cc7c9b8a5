//! What was deployed to each folder of filters: records that hosts share through JetStream, or this host's own files.

use super::releases::Releases;
use crate::source::{Record, Records, Source, SourceError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use tidegate_core::event::Company;

/// The records as this host knows them.
#[derive(Debug)]
pub struct Registry {
    /// Where those of a host that shares nothing lie.
    dir: PathBuf,
    records: BTreeMap<String, Known>,
    /// The place up to which other hosts' changes are known; none before the first look.
    seen: Option<u64>,
}

/// One folder's record.
#[derive(Debug, Default)]
struct Known {
    releases: Releases,
    revision: u64,
}

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Another host changed it since this one looked: look again.
    #[error("another host deployed to this folder at the same time")]
    Stale,
    /// It is kept in `data.dir`, which can't be written.
    #[error("what was deployed can't be noted in data.dir: {0}")]
    Local(#[from] io::Error),
    /// Those that hosts share can't be written.
    #[error(transparent)]
    Shared(#[from] SourceError),
}

impl Registry {
    /// Those in this folder, which is made when the first record is written.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, records: BTreeMap::new(), seen: None }
    }

    /// What was deployed to a folder.
    #[must_use]
    pub fn of(&self, folder: &str) -> Option<&Releases> {
        self.records.get(folder).map(|known| &known.releases)
    }

    /// Every folder that anything was ever deployed to.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Releases)> {
        self.records.iter().map(|(folder, known)| (folder.as_str(), &known.releases))
    }

    /// Was looked at least once?
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.seen.is_some()
    }

    /// After which place other hosts' changes are to be asked for.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.unwrap_or(0)
    }

    /// Takes over what other hosts changed. True when anything was.
    pub fn take(&mut self, told: Records) -> bool {
        let first = self.seen.replace(told.last).is_none();
        let mut changed = false;
        if told.anew || first {
            changed = !self.records.is_empty();
            self.records.clear();
        }
        for Record { name, revision, bytes } in told.changed {
            changed = true;
            if bytes.is_empty() {
                // Written anew, it follows the version that deleted it.
                self.records.insert(name, Known { releases: Releases::default(), revision });
                continue;
            }
            match serde_json::from_slice(&bytes) {
                Ok(releases) => {
                    self.records.insert(name, Known { releases, revision });
                }
                Err(error) => {
                    tracing::error!(folder = name, error = %error, "what was deployed to a folder can't be read; what runs goes on");
                }
            }
        }
        changed
    }

    /// Reads this host's own files, once.
    pub fn read_own(&mut self) -> bool {
        if self.seen.is_some() {
            return false;
        }
        self.seen = Some(0);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_record(&path));
            let Some(name) = name.filter(|name| is_folder(name)) else { continue };
            let read = fs::read(&path).map_err(|error| error.to_string());
            match read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())) {
                Ok(releases) => {
                    self.records.insert(name.to_owned(), Known { releases, revision: 0 });
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), error, "what was deployed to a folder can't be read");
                }
            }
        }
        !self.records.is_empty()
    }

    /// Writes a record over the version that is known here, for other hosts where `source` is given.
    ///
    /// # Errors
    /// It was changed meanwhile, or can't be written: nothing changed.
    pub async fn put(&mut self, folder: &str, releases: Releases, source: Option<&dyn Source>) -> Result<(), PutError> {
        let bytes: Bytes = serde_json::to_vec(&releases).map_err(io::Error::from)?.into();
        let before = self.records.get(folder).map_or(0, |known| known.revision);
        let revision = match source {
            Some(source) => match source.put_record(folder, bytes, before).await? {
                Some(revision) => revision,
                None => {
                    // Whatever led here, the next look begins from the beginning.
                    self.seen = None;
                    return Err(PutError::Stale);
                }
            },
            None => self.write(folder, &bytes).map(|()| 0)?,
        };
        self.records.insert(folder.to_owned(), Known { releases, revision });
        Ok(())
    }

    fn write(&self, folder: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let (path, beside) = (self.dir.join(format!("{folder}.json")), self.dir.join(format!("{folder}.part")));
        let mut file = fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(beside, path)
    }
}

fn is_record(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

/// Can a folder of filters have this name?
#[must_use]
pub fn is_folder(name: &str) -> bool {
    name == super::folder::PLATFORM || name == super::folder::DEFAULT || Company::new(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::releases::{Cause, Facts, Verb};

    fn releases(chain: &str) -> Releases {
        let mut releases = Releases::default();
        let facts = Facts { chain: chain.to_owned(), filters: Vec::new() };
        let cause = Cause { by: "ann".to_owned(), message: String::new(), at_ms: 1, from: None };
        releases.push(facts, Verb::Push, "10-f", cause);
        releases
    }

    fn record(name: &str, revision: u64, chain: &str) -> Record {
        Record { name: name.to_owned(), revision, bytes: serde_json::to_vec(&releases(chain)).unwrap().into() }
    }

    #[tokio::test]
    async fn what_is_deployed_to_a_host_alone_outlasts_its_process() {
        let dir = std::env::temp_dir().join(format!("tidegate-registry-{}", std::process::id()));
        let mut registry = Registry::new(dir.clone());
        assert!(!registry.read_own() && registry.of("acme.eu").is_none());
        registry.put("acme.eu", releases("c1"), None).await.unwrap();
        fs::write(dir.join("torn.json"), "{").unwrap();
        fs::write(dir.join("..json"), "{}").unwrap();
        let mut again = Registry::new(dir.clone());
        assert!(again.read_own() && !again.read_own());
        assert_eq!(again.of("acme.eu"), Some(&releases("c1")));
        assert_eq!(again.all().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_other_hosts_deploy_is_taken_over_and_a_bucket_that_begins_anew_replaces_all() {
        let mut registry = Registry::new(PathBuf::new());
        let told = |changed, last, anew| Records { changed, last, anew, more: false };
        assert!(!registry.is_known() && !registry.take(told(Vec::new(), 0, true)) && registry.is_known());
        assert!(registry.take(told(vec![record("a", 1, "c1"), record("b", 2, "c2")], 2, false)));
        assert!(!registry.take(told(Vec::new(), 2, false)));
        assert_eq!((registry.seen(), registry.of("a")), (2, Some(&releases("c1"))));
        let deleted = Record { bytes: Bytes::new(), ..record("a", 3, "") };
        let torn = Record { bytes: Bytes::from_static(b"{"), ..record("b", 4, "") };
        assert!(registry.take(told(vec![deleted, torn], 4, false)));
        assert_eq!(registry.of("a"), Some(&Releases::default()));
        assert_eq!(registry.of("b"), Some(&releases("c2")), "what can't be read changes nothing");
        assert!(registry.take(told(vec![record("c", 1, "c3")], 1, true)));
        assert_eq!(registry.all().map(|(folder, _)| folder).collect::<Vec<_>>(), ["c"]);
    }
}
