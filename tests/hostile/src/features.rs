//! Files that want what is switched off, and large ones that are allowed.

use crate::Fate::{Held, Refused};
use crate::{Case, WORLD, at_event, file, with_world};
use std::fmt::Write as _;

pub(crate) fn cases() -> Vec<Case> {
    let off = |kind, name, words, slots| at_event(name, Refused(kind, words), slots);
    vec![
        off(
            "world",
            "wants_memory_that_threads_share",
            &["threads"],
            &[("memory", r#"(memory (export "memory") 4 10 shared)"#)],
        ),
        off(
            "compile",
            "wants_to_wait_for_other_threads",
            &["threads", "switched off"],
            &[("act", "(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))")],
        ),
        off("compile", "wants_collected_objects", &["gc"], &[("fields", "(type $point (struct (field i32)))")]),
        off("compile", "wants_exceptions", &["exceptions"], &[("fields", "(tag $oops)"), ("act", "(throw $oops)")]),
        off("compile", "wants_objects_of_the_host", &["gc"], &[("fields", "(global externref (ref.null extern))")]),
        off("compile", "wants_pages_of_a_byte", &["custom"], &[("fields", "(memory 1 (pagesize 1))")]),
        off(
            "compile",
            "wants_wide_arithmetic",
            &["wide"],
            &[(
                "fields",
                "(func (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
            )],
        ),
        at_event(
            "computes_with_vectors",
            Held,
            &[(
                "act",
                "(drop (i32x4.add (v128.const i32x4 1 2 3 4) (v128.const i32x4 1 2 3 4)))
                (drop (i8x16.relaxed_swizzle (v128.const i32x4 1 2 3 4) (v128.const i32x4 1 2 3 4)))
                (call $pass (local.get $event))",
            )],
        ),
        at_event(
            "has_a_memory_of_64_bits",
            Held,
            &[
                ("fields", "(memory $wide i64 1)"),
                ("act", "(drop (memory.grow $wide (i64.const 0x7fffffffffff))) (call $pass (local.get $event))"),
            ],
        ),
        file("has_ten_thousand_functions", Held, || many(10_000, "(func)")),
        file("has_a_hundred_tables", Refused("start", &["table count too high"]), || many(99, "(table 1 funcref)")),
        file("has_more_functions_than_are_allowed", Refused("world", &["functions count exceeds limit"]), || {
            many(1_000_001, "(func)")
        }),
        file("has_sixty_thousand_places_to_jump_to", Held, || {
            let mut jumps = String::from("(func (param i32) (block $out (br_table");
            jumps.push_str(&" $out".repeat(60_000));
            jumps.push_str(" (local.get 0))))");
            many(1, &jumps)
        }),
        file("has_fifty_thousand_locals", Held, || many(1, &format!("(func (local{}))", " i64".repeat(49_000)))),
        file("nests_a_thousand_blocks", Held, || {
            let nested = format!("(func {}{})", "(block ".repeat(1000), ")".repeat(1000));
            many(1, &nested)
        }),
        file("has_sixteen_mebibytes_of_data", Held, || {
            // Eight segments of 2 MiB, one upon the other.
            let mut data = String::new();
            let large = "x".repeat(2 << 20);
            for _ in 0..8 {
                let _ = write!(data, "(data (i32.const 131072) \"{large}\")");
            }
            let memory = (r#"(memory (export "memory") 4)"#, r#"(memory (export "memory") 64)"#);
            with_world(&plain(&data).replace(memory.0, memory.1), WORLD)
        }),
    ]
}

/// What takes long to compile: for a run that is given time.
pub(crate) fn slow_cases() -> Vec<Case> {
    vec![
        file("has_a_hundred_thousand_functions", Held, || many(100_000, "(func)")),
        file("has_a_function_of_a_million_steps", Held, || {
            let steps = "(local.set 0 (i32.add (local.get 0) (i32.const 1)))".repeat(1_000_000);
            many(1, &format!("(func (param i32) {steps})"))
        }),
    ]
}

/// The guest with this many of something more in it.
fn many(count: usize, what: &str) -> Vec<u8> {
    with_world(&plain(&what.repeat(count)), WORLD)
}

fn plain(fields: &str) -> String {
    crate::guest::text(&[("fields", fields)], false)
}
