//! Random files and random answers: refused or told, never a panic, and nothing to the neighbour.

use super::guest::*;
use super::hostile::{Neighbour, pool, readable};
use crate::{Budget, ChainState, Filter, Limits, OnError, Role, Worker};
use bytes::Bytes;
use std::sync::Arc;
use tidegate_core::event::{Input, Verdict};
use tidegate_hostile::fuzz::{Random, mutated, rounds, shuffled};
use tidegate_hostile::{harmless, parrot};

const SHIPPED: [&[u8]; 3] = [
    include_bytes!("../../../../filters/rename/rename.wasm"),
    include_bytes!("../../../../filters/dedup/dedup.wasm"),
    include_bytes!("../../../../filters/platform/platform.wasm"),
];

fn small() -> Limits {
    Limits { call_ms: 20, memory_mib: 8, ..Limits::default() }
}

/// Loads a file and lets it pass an event; what refuses it has to be readable.
fn load(bytes: &[u8], role: Role, worker: &mut Worker) {
    let taken = ENGINE.load(bytes, role, &small()).and_then(|code| {
        Filter::new(&ENGINE, "10-random", code, r#"{"types":{"a":"b"}}"#, small(), OnError::DeadLetter)
    });
    match taken {
        Err(error) => readable(&error.to_string(), &[]).unwrap_or_else(|problem| panic!("{problem}")),
        Ok(filter) if role == Role::Company => {
            let chain = chain(vec![Arc::new(filter)]);
            let inputs = inputs([r#"{"do":"."}"#, r#"{"do":"!"}"#]);
            match worker.run_company(&chain, &company(), &inputs, &mut ChainState::new(), Budget::default()) {
                Ok(run) => assert_eq!(run.verdicts.len(), 2),
                Err(interrupted) => assert!(!interrupted.to_string().is_empty()),
            }
        }
        Ok(_) => {}
    }
}

#[test]
fn a_random_module_is_taken_or_refused_and_nothing_else() {
    let component = wit_component::ComponentEncoder::default().module(&guest()).expect("a module").encode();
    let small = [harmless(), guest(), component.expect("a component")];
    let (mut worker, mut neighbour) = (Worker::new(ENGINE.clone(), pool()), Neighbour::new());
    rounds(250, |random| {
        // What is shipped is a hundred times as large, and takes as much longer to compile.
        let whole = if random.below(50) == 0 { *random.one(&SHIPPED) } else { random.one(&small).as_slice() };
        let other = random.one(&small);
        let bytes = if random.below(4) == 0 { shuffled(random, whole) } else { mutated(random, whole, other) };
        let role = *random.one(&[Role::Company, Role::Company, Role::Platform]);
        load(&bytes, role, &mut worker);
        neighbour.is_well(&mut worker).unwrap_or_else(|problem| panic!("{problem}"));
    });
}

/// A step of the parrot, with numbers that mostly make sense.
fn step(random: &mut Random, bytes: &mut Vec<u8>) {
    bytes.push(random.byte());
    for _ in 0..4 {
        let number = match random.below(6) {
            0 => random.below(4),
            1 | 2 => random.below(64),
            3 => 2048 + 4 * random.below(16_000),
            4 => random.below(300_000),
            _ => *random.one(&[0, usize::MAX, usize::MAX - 7, 0x7fff_ffff, 0x8000_0000, 65_535, 65_536, 262_144]),
        };
        bytes.extend(u32::try_from(number & 0xffff_ffff).unwrap_or_default().to_le_bytes());
    }
}

#[test]
fn random_answers_and_host_calls_cost_their_events_alone() {
    let limits = Limits { call_ms: 1000, memory_mib: 8, log_per_second: 1, ..Limits::default() };
    let code = ENGINE.load(&parrot(), Role::Company, &limits).expect("loads");
    let filter = Filter::new(&ENGINE, "10-parrot", code, "{}", limits, OnError::DeadLetter).expect("starts");
    let chain = chain(vec![Arc::new(filter)]);
    let (mut worker, mut neighbour) = (Worker::new(ENGINE.clone(), pool()), Neighbour::new());
    let mut state = ChainState::new();
    let (mut passed, mut dead) = (0, 0);
    rounds(200, |random| {
        let mut inputs: Vec<Input> = inputs(vec![r#"{"do":"."}"#; 16]);
        for input in &mut inputs[1..15] {
            let mut payload = b"{\"do\":\"!".to_vec();
            for _ in 0..random.below(4) {
                step(random, &mut payload);
            }
            input.data = Bytes::from(payload);
        }
        let run = worker.run_company(&chain, &company(), &inputs, &mut state, Budget::default()).expect("runs");
        assert_eq!(run.verdicts.len(), 16);
        for verdict in &run.verdicts {
            match verdict {
                Verdict::Dead(fault) => {
                    readable(&fault.reason, &[]).unwrap_or_else(|problem| panic!("{problem}"));
                    dead += 1;
                }
                Verdict::Emitted(outputs) => {
                    assert!(outputs.iter().all(|output| std::str::from_utf8(&output.data).is_ok()));
                    passed += 1;
                }
                Verdict::Dropped { .. } => {}
            }
        }
        assert!(state.bytes() <= limits.state_bytes);
        neighbour.is_well(&mut worker).unwrap_or_else(|problem| panic!("{problem}"));
    });
    assert!(passed > 0 && dead > 0, "{passed} passed, {dead} dead: nothing is tried");
}
