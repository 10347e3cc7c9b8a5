//! Judges folders on threads of their own, a bounded number at a time: a file that takes long holds no other one up.

use super::file::FilterFile;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidegate_filter::Chain;

/// What became of a folder's files: their chain, or the file that is at fault and why.
pub(super) type Built = Result<Arc<Chain>, (String, String)>;

/// What a folder's files looked like, and what became of them.
pub(super) struct Judged<L> {
    pub(super) look: L,
    pub(super) digest: blake3::Hash,
    pub(super) built: Built,
}

/// Reads a folder's files, digests them, and makes their chain.
pub(super) type Judge = Arc<dyn Fn(&str, &[PathBuf]) -> (blake3::Hash, Built) + Send + Sync>;

struct Job {
    folder: String,
    number: u64,
    files: Vec<PathBuf>,
}

/// Folders that wait, and those that are being judged.
pub(super) struct Judging<L> {
    judge: Judge,
    at_a_time: usize,
    waiting: VecDeque<Job>,
    /// By folder, the job whose answer counts, and how the files looked to it.
    pending: BTreeMap<String, (u64, L)>,
    next: u64,
    running: Vec<(u64, JoinHandle<()>)>,
    answers: SyncSender<(Job, blake3::Hash, Built)>,
    answered: Receiver<(Job, blake3::Hash, Built)>,
}

impl<L: PartialEq> Judging<L> {
    /// Judges so many folders at a time.
    pub(super) fn new(judge: Judge, at_a_time: usize) -> Self {
        let (answers, answered) = sync_channel(at_a_time);
        let (waiting, pending, running) = (VecDeque::new(), BTreeMap::new(), Vec::new());
        Self { judge, at_a_time, waiting, pending, next: 0, running, answers, answered }
    }

    /// Asks for a folder. What is being judged of it already counts no more.
    pub(super) fn ask(&mut self, folder: &str, files: Vec<PathBuf>, look: L) {
        self.forget(folder);
        self.next += 1;
        self.pending.insert(folder.to_owned(), (self.next, look));
        self.waiting.push_back(Job { folder: folder.to_owned(), number: self.next, files });
        self.start();
    }

    /// How many were asked for so far.
    pub(super) fn asked(&self) -> u64 {
        self.next
    }

    /// Is this folder being judged?
    pub(super) fn is_pending(&self, folder: &str) -> bool {
        self.pending.contains_key(folder)
    }

    /// Is it being judged as it looks now?
    pub(super) fn is_judged_as(&self, folder: &str, look: &L) -> bool {
        self.pending.get(folder).is_some_and(|(_, judged)| judged == look)
    }

    /// What is being judged of a folder is not what it holds any more.
    pub(super) fn forget(&mut self, folder: &str) {
        if let Some((number, _)) = self.pending.remove(folder) {
            self.waiting.retain(|job| job.number != number);
        }
    }

    /// Nobody wants to know of folders any more for which this says no.
    pub(super) fn keep_only(&mut self, wanted: impl Fn(&str) -> bool) {
        self.pending.retain(|folder, _| wanted(folder));
        let pending = &self.pending;
        self.waiting.retain(|job| pending.get(&job.folder).is_some_and(|(number, _)| *number == job.number));
    }

    /// The next answer, waited for until then; `None`: there is none yet, or nothing is asked.
    pub(super) fn next(&mut self, until: Option<Instant>) -> Option<(String, Judged<L>)> {
        loop {
            if self.running.is_empty() {
                return None;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let answer = match left {
                Some(left) => self.answered.recv_timeout(left),
                None => self.answered.recv().map_err(|_ended| RecvTimeoutError::Disconnected),
            };
            let Ok((job, digest, built)) = answer else { return None };
            self.ended(job.number);
            self.start();
            // An answer to a look that was forgotten is none.
            if self.counts(&job)
                && let Some((_, look)) = self.pending.remove(&job.folder)
            {
                return Some((job.folder, Judged { look, digest, built }));
            }
        }
    }

    fn counts(&self, job: &Job) -> bool {
        self.pending.get(&job.folder).is_some_and(|(number, _)| *number == job.number)
    }

    fn ended(&mut self, number: u64) {
        if let Some(at) = self.running.iter().position(|(other, _)| *other == number) {
            // It has sent its answer, and does nothing after that.
            drop(self.running.swap_remove(at).1.join());
        }
    }

    fn start(&mut self) {
        while self.running.len() < self.at_a_time {
            let Some(job) = self.waiting.pop_front() else { return };
            let (judge, answers, number) = (Arc::clone(&self.judge), self.answers.clone(), job.number);
            let folder = job.folder.clone();
            let work = move || {
                let judged = catch_unwind(AssertUnwindSafe(|| judge(&job.folder, &job.files)));
                let (digest, built) = judged.unwrap_or_else(|_panic| {
                    let problem = "the host failed while it judged the folder".to_owned();
                    (blake3::hash(problem.as_bytes()), Err((job.folder.clone(), problem)))
                });
                // There is room for as many answers as run; nobody listens any more when the host ends.
                answers.send((job, digest, built)).ok();
            };
            match std::thread::Builder::new().name("judge".to_owned()).spawn(work) {
                Ok(thread) => self.running.push((number, thread)),
                Err(error) => {
                    // It is asked for again at the next look.
                    tracing::error!(folder, error = %error, "no thread to judge a folder on");
                    self.pending.remove(&folder);
                    return;
                }
            }
        }
    }
}

impl<L> Drop for Judging<L> {
    fn drop(&mut self) {
        let (ended, running): (Vec<_>, Vec<_>) = self.running.drain(..).partition(|(_, thread)| thread.is_finished());
        for (_, thread) in ended {
            drop(thread.join());
        }
        if !running.is_empty() {
            tracing::debug!(folders = running.len(), "folders are still being judged; nobody waits for that");
        }
    }
}

/// How long a look waits for what it asked for: most files are judged by then.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Reads a folder's files, and digests what was read, so that the same content is judged once.
pub(super) fn read(wasm: &[PathBuf], module_mib: u32) -> (blake3::Hash, Result<Vec<FilterFile>, (String, String)>) {
    let mut hasher = blake3::Hasher::new();
    let mut files = Vec::with_capacity(wasm.len());
    for path in wasm {
        match FilterFile::read(path, u64::from(module_mib) << 20) {
            Ok(file) => {
                file.digest_into(&mut hasher);
                files.push(file);
            }
            Err(problem) => {
                hasher.update(problem.as_bytes());
                let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                return (hasher.finalize(), Err((name, problem)));
            }
        }
    }
    (hasher.finalize(), Ok(files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const LONG: Duration = Duration::from_secs(30);

    /// A judge that waits, for folders named `slow…`, until it is told to go on.
    fn judging() -> (Judging<u32>, SyncSender<()>) {
        let (go, wait) = sync_channel(4);
        let wait = Mutex::new(wait);
        let judge: Judge = Arc::new(move |folder, _| {
            assert_ne!(folder, "panics");
            if folder.starts_with("slow") {
                wait.lock().expect("not poisoned").recv_timeout(LONG).expect("told");
            }
            (blake3::hash(folder.as_bytes()), Err((folder.to_owned(), "tried".to_owned())))
        });
        (Judging::new(judge, 2), go)
    }

    fn next(judging: &mut Judging<u32>) -> Option<String> {
        judging.next(Some(Instant::now() + LONG)).map(|(folder, _)| folder)
    }

    #[test]
    fn a_slow_folder_holds_no_other_one_up() {
        let (mut judging, go) = judging();
        for folder in ["slow", "a", "b", "c"] {
            judging.ask(folder, Vec::new(), 0);
        }
        let mut quick: Vec<_> = (0..3).filter_map(|_| next(&mut judging)).collect();
        quick.sort();
        assert_eq!(quick, ["a", "b", "c"]);
        assert!(judging.is_pending("slow"));
        assert!(judging.next(Some(Instant::now())).is_none());
        go.send(()).expect("it waits");
        assert_eq!(next(&mut judging).as_deref(), Some("slow"));
        assert!(judging.next(None).is_none(), "nothing is asked any more");
    }

    #[test]
    fn the_answer_for_a_folder_that_is_gone_is_no_answer() {
        let (mut judging, go) = judging();
        judging.ask("slow", Vec::new(), 1);
        judging.keep_only(|_| false);
        // It is there again, with other files.
        judging.ask("slow", Vec::new(), 2);
        go.send(()).expect("it waits");
        go.send(()).expect("it waits");
        let (folder, judged) = judging.next(Some(Instant::now() + LONG)).expect("an answer");
        assert_eq!((folder.as_str(), judged.look), ("slow", 2));
    }

    #[test]
    fn what_a_folder_held_a_moment_ago_is_no_answer() {
        let (mut judging, go) = judging();
        judging.ask("slow", Vec::new(), 1);
        assert!(judging.is_judged_as("slow", &1) && !judging.is_judged_as("slow", &2));
        judging.ask("slow", Vec::new(), 2);
        judging.forget("slow");
        assert!(!judging.is_pending("slow"));
        go.send(()).expect("it waits");
        go.send(()).expect("it waits");
        assert!(next(&mut judging).is_none());
    }

    #[test]
    fn a_panic_is_a_refusal() {
        let (mut judging, _go) = judging();
        judging.ask("panics", Vec::new(), 0);
        let (folder, judged) = judging.next(Some(Instant::now() + LONG)).expect("an answer");
        assert!(folder == "panics" && judged.built.is_err_and(|(_, problem)| problem.contains("the host failed")));
    }
}
