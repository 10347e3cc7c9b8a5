//! Row 7: memory of an idle connection, and whether the memory of those who left is used again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use crate::contestant::{Contestant, Filters, Kind};
use crate::crowd::Crowd;
use crate::figure::{Figure, Samples, Sides};
use crate::plan::Plan;
use crate::usage::memory_bytes;

/// Connections that come and go before anything is looked at.
const WARM: u32 = 500;
/// Memory that changes by less between two looks has settled.
const SETTLED_BYTES: u64 = 256 << 10;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(400);
/// Memory that moves for longer never settles.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of one idle connection.
#[derive(Clone, Copy, Debug)]
struct Idle {
    /// Of the first wave, in KiB.
    first: f64,
    /// What a second wave adds, in KiB.
    second: f64,
}

/// Measures it.
///
/// # Errors
/// A server doesn't start, or a connection isn't opened.
pub(super) fn run(runtime: &Runtime, plan: Plan) -> Result<Vec<Figure>> {
    let connections = if plan.quick { 1_000 } else { 10_000 };
    let kinds = [Kind::Tidegate(Filters::Platform), Kind::Tidegate(Filters::Platform), Kind::Nchan];
    let [mut first, mut second] = [(); 2].map(|()| vec![Samples::default(); kinds.len()]);
    for _ in 0..plan.rounds().min(3) {
        for (number, kind) in kinds.into_iter().enumerate() {
            let idle = waves(runtime, kind, connections)?;
            crate::say(&format!(
                "       {kind:?}: {:.2} KiB each, a second wave adds {:.2} KiB each",
                idle.first, idle.second
            ));
            first[number].0.push(idle.first);
            second[number].0.push(idle.second);
        }
    }
    let told = format!("an idle connection of {}", crate::results::number(f64::from(connections)));
    let sides = Sides { ours: &first[0], twin: &first[1], theirs: &first[2] };
    // What is added may be nothing, of which nothing is a multiple: so it is a difference to that, and to the twin's.
    let nothing = Samples(vec![0.0; second[0].0.len()]);
    let added = Sides { ours: &second[0], twin: &second[1], theirs: &nothing };
    Ok(vec![
        Figure::alone(&format!("memory of {told}"), "KiB", &first[0], &first[1]).at_most(6.0),
        Figure::ratio(&format!("memory of {told}"), "nginx with nchan", "KiB", sides).lower(),
        // A tenth of a KiB each is below what a look at memory can tell.
        Figure::difference(&format!("what a second wave adds, {told}"), "nothing", "KiB", added).at_most(0.1),
    ])
}

/// A fresh server, warmed up; then two waves of connections, one after the other.
fn waves(runtime: &Runtime, kind: Kind, connections: u32) -> Result<Idle> {
    let server = Contestant::start(kind, runtime, 1)?;
    wave(&server, WARM)?;
    let before = settled(&server)?;
    let first = wave(&server, connections)?;
    let second = wave(&server, connections)?;
    let each = |bytes: f64| bytes / 1024.0 / f64::from(connections);
    Ok(Idle { first: each(first as f64 - before as f64), second: each(second as f64 - first as f64) })
}

/// Memory while all are open; then they leave.
fn wave(server: &Contestant, connections: u32) -> Result<u64> {
    let crowd = Crowd::open(server.visit(connections, 1, 0)?, None)?;
    crowd.all_open()?;
    let open = settled(server)?;
    crowd.check()?;
    drop(crowd);
    settled(server)?;
    Ok(open)
}

fn settled(server: &Contestant) -> Result<u64> {
    let (processes, until) = (server.processes()?, Instant::now() + PATIENCE);
    let mut before = memory_bytes(&processes)?;
    loop {
        std::thread::sleep(LOOK);
        let now = memory_bytes(&processes)?;
        if now.abs_diff(before) < SETTLED_BYTES {
            return Ok(now);
        }
        ensure!(Instant::now() < until, "the memory of the server doesn't settle");
        before = now;
    }
}
