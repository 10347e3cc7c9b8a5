//! Guests whose results are malformed, or more than they may be.

use crate::Fate::{Dead, Held};
use crate::{Case, at_event};

fn garbage(name: &'static str, words: &'static [&'static str], act: &'static [(&'static str, &'static str)]) -> Case {
    at_event(name, Dead("garbage", words), act)
}

fn output(name: &'static str, words: &'static [&'static str], act: &'static [(&'static str, &'static str)]) -> Case {
    at_event(name, Dead("output", words), act)
}

const PASS: (&str, &str) = ("act", "(call $pass (local.get $event))");

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = spans();
    cases.extend(counts());
    cases.extend(pointers());
    cases.extend(too_much());
    cases
}

fn spans() -> Vec<Case> {
    vec![
        garbage(
            "points_beyond_its_bytes",
            &["span 65530..65540 in 65536 bytes"],
            &[(
                "act",
                "(call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 65530) (i32.const 10))",
            )],
        ),
        garbage(
            "points_beyond_all_numbers",
            &["span 4294967295..8589934590"],
            &[("act", "(call $verdict (i32.const 0) (i32.const -1) (i32.const -1) (i32.const 0))")],
        ),
        at_event(
            "points_data_beyond_all_numbers",
            Dead("output", &["4294967295 bytes"]),
            &[(
                "act",
                "(call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1) (i32.const -1))",
            )],
        ),
        garbage(
            "points_into_another_event",
            &["another event"],
            &[(
                "act",
                "(call $emission (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.add (i32.load offset=32 (local.get $event)) (i32.const 1)))
                (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1))",
            )],
        ),
        garbage(
            "points_beyond_the_input",
            &["span "],
            &[(
                "act",
                "(call $emission (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.load offset=32 (local.get $event)) (i32.const 1000000))
                (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1))",
            )],
        ),
        garbage(
            "points_an_event_type_beyond_its_bytes",
            &["span 65536..65537"],
            &[(
                "act",
                "(call $say (i32.const 65536) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 7))",
            )],
        ),
    ]
}

fn counts() -> Vec<Case> {
    vec![
        garbage("gives_no_verdict", &["0 verdicts for 1"], &[("act", "")]),
        garbage(
            "gives_a_verdict_too_many",
            &["2 verdicts for 1"],
            &[("act", "(call $pass (local.get $event)) (call $pass (local.get $event))")],
        ),
        garbage(
            "announces_emissions_that_are_not_there",
            &["1 emissions, while its verdicts announce 2"],
            &[PASS, ("finish", "(i32.store (i32.const 2060) (i32.const 2))")],
        ),
        garbage(
            "announces_four_thousand_million_emissions",
            &["announce 4294967295"],
            &[("act", "(call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1))")],
        ),
        garbage(
            "emits_what_nobody_announced",
            &["1 emissions, while its verdicts announce 0"],
            &[("act", "(call $pass (local.get $event))"), ("finish", "(i32.store (i32.const 2060) (i32.const 0))")],
        ),
        garbage(
            "emits_with_a_drop",
            &["emissions of an event that is not emitted"],
            &[("act", "(call $pass (local.get $event))"), ("finish", "(i32.store8 (i32.const 2048) (i32.const 0))")],
        ),
    ]
}

fn pointers() -> Vec<Case> {
    vec![
        garbage(
            "a_verdict_of_no_kind",
            &["discriminant"],
            &[PASS, ("finish", "(i32.store8 (i32.const 2048) (i32.const 9))")],
        ),
        garbage(
            "data_in_no_place",
            &["discriminant"],
            &[PASS, ("finish", "(i32.store8 (i32.const 8208) (i32.const 7))")],
        ),
        garbage(
            "verdicts_beyond_memory",
            &["list"],
            &[PASS, ("finish", "(i32.store (i32.const 1024) (i32.const -16))")],
        ),
        garbage(
            "two_thousand_million_verdicts",
            &["list"],
            &[PASS, ("finish", "(i32.store (i32.const 1028) (i32.const 0x7fffffff))")],
        ),
        garbage(
            "verdicts_at_an_odd_place",
            &["aligned"],
            &[PASS, ("finish", "(i32.store (i32.const 1024) (i32.const 2049))")],
        ),
        garbage(
            "emissions_at_an_odd_place",
            &["aligned"],
            &[PASS, ("finish", "(i32.store (i32.const 1032) (i32.const 8194))")],
        ),
        garbage(
            "bytes_beyond_memory",
            &["list"],
            &[PASS, ("finish", "(i32.store (i32.const 1044) (i32.const 0x7fffffff))")],
        ),
        garbage("a_result_at_an_odd_place", &["aligned"], &[PASS, ("finish", "(global.set $result (i32.const 1025))")]),
        garbage("a_result_beyond_memory", &["result"], &[PASS, ("finish", "(global.set $result (i32.const -8))")]),
        garbage(
            "a_result_at_the_end_of_memory",
            &["result"],
            &[
                PASS,
                ("finish", "(global.set $result (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)))"),
            ],
        ),
    ]
}

/// Makes the first 24 or 72 MiB of memory the result's bytes.
const LARGE: (&str, &str) =
    ("finish", "(drop (memory.grow (i32.const 400))) (i32.store (i32.const 1044) (i32.const 25165824))");
const HUGE: (&str, &str) =
    ("finish", "(drop (memory.grow (i32.const 1200))) (i32.store (i32.const 1044) (i32.const 75497472))");

fn too_much() -> Vec<Case> {
    // Emissions stand in memory that is not the guest's own otherwise.
    const MANY: &str = "
        (drop (memory.grow (i32.const 100)))
        (loop $more
          (call $emission (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 7))
          (br_if $more (i32.lt_u (global.get $emissions) (i32.const 101))))
        (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 101))";
    const SAME: &str = "
        (loop $more
          (call $emission (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 65536))
          (br_if $more (i32.lt_u (global.get $emissions) (i32.const 99))))
        (call $verdict (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 99))";
    vec![
        output("emits_once_too_often", &["101 times", "outputs allows 100"], &[("act", MANY)]),
        output("emits_the_same_bytes_again_and_again", &["6488064 bytes", "output-bytes allows 1048576"], &[("act", SAME)]),
        output("hands_over_more_bytes_than_a_call_may", &["more bytes than output-bytes"], &[PASS, HUGE])
            .with("[limits]\nmemory-mib = 100\n"),
        at_event("hands_over_bytes_that_it_does_not_emit", Held, &[PASS, LARGE]),
        garbage("hands_over_three_thousand_verdicts", &["3000 verdicts for 1"], &[
            PASS,
            ("finish", "(i32.store (i32.const 1024) (i32.const 16384)) (i32.store (i32.const 1028) (i32.const 3000))"),
        ]),
        output("emits_more_than_it_may_by_a_byte", &["1048577 bytes"], &[
            ("act", "(call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1048577))"),
            ("finish", "(drop (memory.grow (i32.const 32))) (i32.store (i32.const 1044) (i32.const 1048577))"),
        ]),
        at_event("emits_as_much_as_it_may", Held, &[
            ("act", "(call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1048576) (i32.const 1048576))"),
            ("finish", "(drop (memory.grow (i32.const 32)))
                (memory.fill (i32.const 1048576) (i32.const 0x61) (i32.const 1048576)) (i32.store (i32.const 1044) (i32.const 2097152))"),
        ]),
    ]
}
