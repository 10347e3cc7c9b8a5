//! What a host notes about chains, for its own next start and for other hosts: what it applied, and what ever ran.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use tidegate_core::named::Ran;
use tidegate_core::swap::Applied;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// By folder, the chain that this host applied last; none where there was no folder.
    applied: BTreeMap<String, String>,
    #[serde(with = "pairs")]
    ran: Ran,
}

/// How a list of what ran is written: as its pairs.
mod pairs {
    use super::{Deserialize as _, Ran, Serialize as _};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(ran: &Ran, to: S) -> Result<S::Ok, S::Error> {
        ran.pairs().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ran, D::Error> {
        Vec::<(String, String)>::deserialize(from).map(Ran::from)
    }
}

/// The notes in `data.dir`.
#[derive(Debug)]
pub struct Notes {
    path: PathBuf,
    noted: Noted,
    /// There were none at the start, and nothing was noted since.
    unknown: bool,
}

impl Notes {
    /// Reads the file. One that can't be read counts as none: this host is new then.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let read = fs::read(&path).map_err(|error| error.to_string());
        let parsed = read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        match parsed {
            Ok(noted) => Self { path, noted, unknown: false },
            Err(error) => {
                if path.exists() {
                    tracing::warn!(path = %path.display(), error, "the notes on applied chains can't be read");
                }
                Self { path, noted: Noted::default(), unknown: true }
            }
        }
    }

    /// Has this host noted anything yet?
    #[must_use]
    pub fn unknown(&self) -> bool {
        self.unknown
    }

    /// What was applied of a folder.
    #[must_use]
    pub fn applied(&self, folder: &str) -> Applied<'_> {
        match self.noted.applied.get(folder) {
            _ if self.unknown => Applied::Unknown,
            Some(digest) => Applied::Chain(digest),
            None => Applied::Nothing,
        }
    }

    /// What ever ran, as far as this host knows.
    #[must_use]
    pub fn ran(&self) -> &Ran {
        &self.noted.ran
    }

    /// Notes what was applied of folders (`None`: there is no folder), and what ran.
    ///
    /// # Errors
    /// They can't be written; they hold until this process ends.
    pub fn note<'a>(
        &mut self,
        applied: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
        ran: &Ran,
    ) -> io::Result<()> {
        let mut noted = self.noted.clone();
        for (folder, digest) in applied {
            match digest {
                Some(digest) => noted.applied.insert(folder.to_owned(), digest.to_owned()),
                None => noted.applied.remove(folder),
            };
        }
        noted.ran.join(ran);
        if noted == self.noted && !self.unknown {
            return Ok(());
        }
        (self.noted, self.unknown) = (noted, false);
        let beside = self.path.with_extension("part");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&self.noted)?)?;
        file.sync_all()?;
        fs::rename(beside, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(folder: &str, digest: &str) -> (String, String) {
        (folder.to_owned(), digest.to_owned())
    }

    #[test]
    fn notes_outlast_the_process_and_a_host_without_any_is_new() {
        let path = std::env::temp_dir().join(format!("tidegate-notes-{}.json", std::process::id()));
        let mut notes = Notes::open(path.clone());
        assert_eq!((notes.unknown(), notes.applied("a")), (true, Applied::Unknown));
        let mut ran = Ran::default();
        assert!(ran.add([pair("a", "1"), pair("b", "")]) && !ran.add([pair("a", "1")]));
        notes.note([("a", Some("1")), ("b", None)], &ran).unwrap();
        let again = Notes::open(path.clone());
        assert_eq!((again.applied("a"), again.applied("b")), (Applied::Chain("1"), Applied::Nothing));
        assert!(again.ran().holds("a", "1") && !again.ran().holds("b", "1") && !again.ran().holds("b", ""));
        notes.note([("a", None)], &Ran::default()).unwrap();
        assert_eq!(Notes::open(path.clone()).applied("a"), Applied::Nothing);
        fs::write(&path, "torn").unwrap();
        assert!(Notes::open(path.clone()).unknown());
        fs::remove_file(path).unwrap();
    }
}
