//! Gives back the memory of compiled code that nobody runs. It is mapped from its file, and comes back from there, mostly out
//! of the kernel's cache, page by page as it runs.
//!
//! What checking and starting it touched would stay: of an idle filter in Rust four fifths of its memory. (`cargo xtask bench
//! 11`)

#[cfg(target_os = "linux")]
mod linux {
    #![allow(unsafe_code, reason = "an idle module takes a fifth of what it took (`cargo xtask bench 11`)")]

    use rustix::mm::{Advice, madvise};
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::os::unix::fs::FileExt as _;

    /// Bytes of an entry of `/proc/self/pagemap`.
    const ENTRY: usize = 8;
    /// The page is present, and is one of a file and no copy of it that was written to (admin-guide/mm/pagemap).
    const OF_A_FILE: u64 = 1 << 63 | 1 << 61;

    /// Gives back what lies in this image and has its like in a file; the rest stays.
    pub(super) fn give_back(image: &Range<*const u8>) -> io::Result<()> {
        let page = rustix::param::page_size();
        let first = image.start.addr() / page;
        let pages = image.end.addr().div_ceil(page) - first;
        let mut map = vec![0; pages * ENTRY];
        File::open("/proc/self/pagemap")?.read_exact_at(&mut map, (first * ENTRY) as u64)?;
        let (entries, _) = map.as_chunks::<ENTRY>();
        let given = |entry: &[u8; ENTRY]| u64::from_ne_bytes(*entry) & OF_A_FILE == OF_A_FILE;
        let mut at = 0;
        for run in entries.chunk_by(|a, b| given(a) == given(b)) {
            if given(&run[0]) {
                let start = image.start.map_addr(|_| (first + at) * page).cast_mut();
                // SAFETY: these are whole pages of the image's own mapping, which a `Component` keeps; each was just seen to be
                // a page of its file. Nothing writes to the image once it is loaded, and nothing changes the file: see
                // `deserialize`. So whoever runs it or reads it meanwhile finds the same bytes.
                unsafe { madvise(start.cast(), run.len() * page, Advice::LinuxDontNeed)? };
            }
            at += run.len();
        }
        Ok(())
    }
}

/// Gives back what this image takes, where that can be had again.
pub(crate) fn give_back(image: &std::ops::Range<*const u8>) {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::give_back(image) {
        tracing::debug!(error = %error, "the memory of code that is not run can't be given back");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = image;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use crate::tests::Folder;
    use crate::tests::guest::{ENGINE, chain, changed_guest, company, inputs, limits, short};
    use crate::{
        Budget, Chain, ChainState, Engine, EngineSettings, Filter, InstancePool, OnError, PoolSettings, Role, Worker,
    };
    use std::panic::AssertUnwindSafe;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    /// An engine that keeps what it compiled in a folder, and maps it from there.
    fn with_cache() -> (Engine, Folder) {
        let folder = Folder::new();
        let settings = EngineSettings { cache_dir: Some(folder.path().join("code")), ..EngineSettings::default() };
        (Engine::new(settings).expect("an engine"), folder)
    }

    fn filtered(engine: &Engine, text: &str) -> Chain {
        let guest = changed_guest("threshold is missing", text);
        let code = engine.load(&guest, Role::Company, &limits()).expect("loads");
        chain(vec![Arc::new(
            Filter::new(engine, "10-idle", code, "{}", limits(), OnError::DeadLetter).expect("starts"),
        )])
    }

    /// Bytes of its image that are in memory, by the kernel's account.
    fn resident(chain: &Chain) -> usize {
        let image = chain.filters()[0].code().image();
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("reads");
        let (mut within, mut bytes) = (false, 0);
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((Ok(from), Ok(to))) =
                range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)))
            {
                within = from < image.end.addr() && to > image.start.addr();
            } else if within && let Some(rss) = line.strip_prefix("Rss:") {
                bytes += rss.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024;
            }
        }
        bytes
    }

    fn passes(engine: &Engine, chain: &Chain) {
        let pool = InstancePool::new(PoolSettings::default());
        let mut worker = Worker::new(engine.clone(), pool);
        let run = worker.run_company(chain, &company(), &inputs(["pass"]), &mut ChainState::new(), Budget::default());
        assert_eq!(short(&run.expect("runs").verdicts[0]), "=pass");
    }

    #[test]
    fn code_that_rests_takes_no_memory_and_runs_as_before() {
        let (engine, _folder) = with_cache();
        let chain = filtered(&engine, "threshold of one idle");
        passes(&engine, &chain);
        assert!(resident(&chain) > 0);
        chain.rest();
        assert_eq!(resident(&chain), 0);
        passes(&engine, &chain);
        assert!(resident(&chain) > 0);
    }

    #[test]
    fn code_that_another_filter_has_too_does_not_rest_with_its_chain() {
        let (engine, _folder) = with_cache();
        let (one, other) = (filtered(&engine, "threshold of both idle"), filtered(&engine, "threshold of both idle"));
        one.rest();
        assert!(resident(&one) > 0);
        drop(other);
        one.rest();
        assert_eq!(resident(&one), 0);
    }

    #[test]
    fn code_goes_to_rest_with_the_last_instance_that_nobody_used_for_long() {
        let (engine, _folder) = with_cache();
        let chain = filtered(&engine, "threshold of rare use");
        let pool = InstancePool::new(PoolSettings { idle: Duration::from_millis(1), ..PoolSettings::default() });
        pool.warm(&chain, Some(&company()), 1).expect("starts");
        assert!(resident(&chain) > 0 && pool.instances() == 1);
        // What starts slowly is kept for longer: on a busy machine this one may count as such.
        while pool.instances() > 0 {
            pool.sweep();
        }
        assert_eq!(resident(&chain), 0);
    }

    #[test]
    fn code_may_be_sent_to_rest_while_it_runs() {
        let (engine, _folder) = with_cache();
        let (chain, done) = (filtered(&engine, "threshold of two idle"), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    chain.rest();
                }
            });
            let passed = std::panic::catch_unwind(AssertUnwindSafe(|| (0..200).for_each(|_| passes(&engine, &chain))));
            done.store(true, Ordering::Relaxed);
            passed.expect("passes");
        });
    }

    #[test]
    fn code_that_is_in_no_file_stays() {
        let chain = filtered(&ENGINE, "threshold of no cache");
        let before = resident(&chain);
        chain.rest();
        assert_eq!(resident(&chain), before);
        passes(&ENGINE, &chain);
    }
}
