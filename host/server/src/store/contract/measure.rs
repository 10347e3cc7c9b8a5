//! How long commits take. Not part of the usual run: `cargo test -p tidegate --lib measure -- --ignored --nocapture`.

use super::stand::{Stand, Writer, company, entry};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tidegate_core::commit::{CommitAnswer, Part};
use tidegate_core::limits::BATCH_EVENTS;
use tidegate_core::position::Position;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Commits of a full batch with one output each, shared by so many companies; `ahead` commits are on their way at a time.
/// `told`: another host listens.
async fn measure(name: &str, stand: Stand, companies: usize, ahead: usize, told: bool) {
    const ROUNDS: usize = 400;
    let store = stand.store();
    let mut writer = Writer::new(&*store).await;
    let names: Vec<_> = (0..companies).map(|n| company(&format!("company-{n}"))).collect();
    let mut running = vec![0; companies];
    let mut commits = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS as u64 {
        let first = round * BATCH_EVENTS as u64 + 1;
        let mut commit = writer.next(first + BATCH_EVENTS as u64 - 1);
        commit.parts = names.iter().map(|name| Part::new(name.clone())).collect();
        for n in 0..BATCH_EVENTS {
            let at = n % companies;
            running[at] += 1;
            let mut output = entry(Position::new(1, first + n as u64, 1), running[at]);
            output.data = Bytes::from(vec![b'x'; 280]);
            commit.parts[at].outputs.push(output);
        }
        commits.push(commit);
    }
    // The first one makes the connection.
    assert!(matches!(store.commit(&commits.remove(0)).await, Ok(CommitAnswer::Stored(_))));
    let mut listener = JoinSet::new();
    let (to, mut news) = mpsc::channel(64);
    if told {
        let store = stand.store();
        listener.spawn(async move { store.listen(to).await });
        news.recv().await;
        listener.spawn(async move {
            while news.recv().await.is_some() {}
            Ok(())
        });
    }
    let (start, mut times) = (Instant::now(), Vec::with_capacity(ROUNDS));
    for piece in commits.chunks(ahead) {
        let sent = Instant::now();
        let answers = futures_util::future::join_all(piece.iter().map(|commit| store.commit(commit))).await;
        assert!(answers.iter().all(|answer| matches!(answer, Ok(CommitAnswer::Stored(_)))), "{answers:?}");
        times.push(sent.elapsed());
    }
    let (all, outputs) = (start.elapsed(), ((ROUNDS - 1) * BATCH_EVENTS) as f64);
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let rate = outputs / all.as_secs_f64();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    println!(
        "{name}, {companies} companies, {ahead} ahead: {rate:.0} outputs/s; p50 {:.2} ms, p99 {:.2} ms",
        ms(at(50)),
        ms(at(99))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_commits_of_a_full_batch() {
    for (companies, ahead) in [(1, 1), (1, 4), (50, 1), (50, 4), (256, 1)] {
        measure("embedded", Stand::embedded(), companies, ahead, false).await;
        for (name, told) in [("redis", false), ("redis, with a listener", true)] {
            if let Some(stand) = Stand::redis() {
                measure(name, stand, companies, ahead, told).await;
            }
        }
    }
}
