//! Guests that abuse what the host offers: the log and the state.

use crate::Fate::{Dead, Held};
use crate::{Case, at_event};

const SHORT: &str = "[limits]\ncall-ms = 60\nmemory-mib = 32\n";

fn endless(name: &'static str, act: &'static [(&'static str, &'static str)]) -> Case {
    at_event(name, Dead("timeout", &["60 ms (call-ms)"]), act).with(SHORT)
}

/// `$at` counts down to nothing around these calls, and the event passes.
macro_rules! times {
    ($count:literal, $calls:literal) => {
        concat!(
            "(local.set $at (i32.const ",
            $count,
            ")) (loop $again ",
            $calls,
            " (local.set $at (i32.sub (local.get $at) (i32.const 1))) (br_if $again (local.get $at))) (call $pass (local.get $event))"
        )
    };
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = log();
    cases.extend(state());
    cases.extend(state_for_ever());
    cases.extend(wrong_arguments());
    cases
}

fn log() -> Vec<Case> {
    vec![
        at_event(
            "logs_ten_thousand_lines",
            Held,
            &[("act", times!("10000", "(call $log (i32.const 1) (i32.const 0) (i32.const 7))"))],
        ),
        at_event(
            "logs_lines_of_a_mebibyte",
            Held,
            &[
                ("memory", r#"(memory (export "memory") 64)"#),
                ("act", times!("200", "(call $log (i32.const 3) (i32.const 2097152) (i32.const 1048576))")),
            ],
        )
        .with("[limits]\nlog-per-second = 1000\n"),
        at_event(
            "logs_lines_with_line_ends",
            Held,
            &[
                ("text", "a\\0d\\0a{\\22level\\22:\\22error\\22}\\1b[2J\\00"),
                ("act", times!("3", "(call $log (i32.const 2) (i32.const 32) (i32.const 24))")),
            ],
        ),
        endless(
            "logs_for_ever",
            &[("act", "(loop $forever (call $log (i32.const 0) (i32.const 0) (i32.const 7)) (br $forever))")],
        ),
    ]
}

fn state() -> Vec<Case> {
    vec![
        at_event("remembers_more_than_its_quota", Held, &[
            // A value of a mebibyte under each of a hundred keys.
            ("memory", r#"(memory (export "memory") 40)"#),
            ("act", times!("100", "(i32.store8 (i32.const 32) (local.get $at))
                (call $set (i32.const 32) (i32.const 1) (i32.const 1048576) (i32.const 1048576) (i32.const 1100))")),
        ])
        .with("[limits]\nstate-bytes = 4000000\n"),
        at_event("remembers_under_an_endless_key", Held, &[
            ("act", times!("10", "(call $set (i32.const 65536) (i32.const 60000) (i32.const 0) (i32.const 7) (i32.const 1100))")),
        ]),
        at_event("remembers_under_no_key", Held, &[
            ("act", times!("10", "(call $set (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 1100))")),
        ]),
        // As alone, so in a batch: what one event may hand over must not depend on how many are beside it.
        at_event("remembers_more_in_one_value_than_it_may_emit", Held, &[
            ("memory", r#"(memory (export "memory") 100)"#),
            ("act", times!("1", "(call $set (i32.const 0) (i32.const 7) (i32.const 0) (i32.const 4000000) (i32.const 1100))")),
        ]),
        at_event("writes_the_same_large_value_again_and_again", Held, &[
            // The old values of one call must not pile up in the host.
            ("memory", r#"(memory (export "memory") 20)"#),
            ("act", times!("2000", "(call $set (i32.const 0) (i32.const 7) (i32.const 0) (i32.const 1048576) (i32.const 1100))")),
        ])
        .with("[limits]\ncall-ms = 1000\n"),
        at_event("writes_and_deletes_ever_other_keys", Held, &[
            ("act", times!("20000", "(i32.store offset=1000 (i32.const 65536) (i32.or (i32.const 0x20202020) (i32.and (local.get $at) (i32.const 0x0f0f0f0f))))
                (memory.fill (i32.const 65536) (i32.const 0x61) (i32.const 1000))
                (call $set (i32.const 65536) (i32.const 1004) (i32.const 0) (i32.const 7) (i32.const 1100))
                (call $delete (i32.const 65536) (i32.const 1004))")),
        ])
        .with("[limits]\ncall-ms = 1000\n"),
        at_event("traps_after_a_hundred_writes", Dead("trap", &["gave up"]), &[
            ("act", "(local.set $at (i32.const 100)) (loop $again
                (i32.store8 (i32.const 32) (local.get $at))
                (call $set (i32.const 32) (i32.const 1) (i32.const 0) (i32.const 7) (i32.const 1100))
                (local.set $at (i32.sub (local.get $at) (i32.const 1))) (br_if $again (local.get $at))) unreachable"),
        ]),
        at_event("scans_more_than_its_memory_holds", Dead("memory", &["memory-mib"]), &[
            ("memory", r#"(memory (export "memory") 20)"#),
            ("fields", "(func $fill (local $n i32) (local.set $n (i32.const 8)) (loop $again
                (i32.store8 (i32.const 32) (i32.add (i32.const 64) (local.get $n)))
                (call $set (i32.const 32) (i32.const 1) (i32.const 0) (i32.const 1048576) (i32.const 1100))
                (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))))"),
            ("act", "(call $fill) (call $scan (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1100)) (call $pass (local.get $event))"),
        ])
        .with("[limits]\nmemory-mib = 4\n"),
    ]
}

fn state_for_ever() -> Vec<Case> {
    vec![
        endless(
            "scans_a_million_times",
            &[
                (
                    "fields",
                    "(func $fill (local $n i32) (local.set $n (i32.const 60)) (loop $again
                (i32.store8 (i32.const 32) (i32.add (i32.const 32) (local.get $n)))
                (call $set (i32.const 32) (i32.const 1) (i32.const 0) (i32.const 60000) (i32.const 1100))
                (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))))",
                ),
                (
                    "act",
                    "(call $fill) (loop $forever
                (global.set $bump (i32.const 262144))
                (call $scan (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1100)) (br $forever))",
                ),
            ],
        ),
        endless(
            "writes_for_ever",
            &[(
                "act",
                "(loop $forever (global.set $bump (i32.const 262144))
                (call $set (i32.const 0) (i32.const 7) (i32.const 0) (i32.const 7) (i32.const 1100)) (br $forever))",
            )],
        ),
        endless(
            "deletes_for_ever",
            &[("act", "(loop $forever (call $delete (i32.const 0) (i32.const 7)) (br $forever))")],
        ),
        endless(
            "reads_for_ever",
            &[("act", "(loop $forever (call $get (i32.const 0) (i32.const 7) (i32.const 1100)) (br $forever))")],
        ),
    ]
}

fn wrong_arguments() -> Vec<Case> {
    vec![
        at_event(
            "logs_at_no_level",
            Dead("trap", &["discriminant"]),
            &[("act", "(call $log (i32.const 9) (i32.const 0) (i32.const 7)) (call $pass (local.get $event))")],
        ),
        at_event(
            "logs_what_is_no_utf_8",
            Dead("trap", &["utf-8"]),
            &[
                ("text", "\\ff\\fe"),
                ("act", "(call $log (i32.const 1) (i32.const 32) (i32.const 2)) (call $pass (local.get $event))"),
            ],
        ),
        at_event(
            "logs_from_beyond_memory",
            Dead("trap", &["string"]),
            &[("act", "(call $log (i32.const 1) (i32.const -8) (i32.const 7)) (call $pass (local.get $event))")],
        ),
        at_event(
            "remembers_under_a_key_that_is_no_utf_8",
            Dead("trap", &["utf-8"]),
            &[
                ("text", "\\ff\\fe"),
                (
                    "act",
                    "(call $set (i32.const 32) (i32.const 2) (i32.const 0) (i32.const 7) (i32.const 1100)) (call $pass (local.get $event))",
                ),
            ],
        ),
        at_event(
            "asks_for_an_answer_beyond_memory",
            Dead("trap", &["pointer"]),
            &[("act", "(call $get (i32.const 0) (i32.const 7) (i32.const -4)) (call $pass (local.get $event))")],
        ),
        at_event(
            "asks_for_an_answer_at_an_odd_place",
            Dead("trap", &["pointer"]),
            &[("act", "(call $get (i32.const 0) (i32.const 7) (i32.const 1101)) (call $pass (local.get $event))")],
        ),
        at_event(
            "remembers_from_beyond_memory",
            Dead("trap", &["list"]),
            &[(
                "act",
                "(call $set (i32.const 0) (i32.const 7) (i32.const -4) (i32.const -1) (i32.const 1100)) (call $pass (local.get $event))",
            )],
        ),
    ]
}
