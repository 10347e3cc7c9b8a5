//! Guests whose texts are none, or would be more than text in a stream, a header, or a line of a log.

use crate::Fate::{Dead, Held};
use crate::{Case, Fate, at_event};

/// The text at 32, with this length.
macro_rules! emits_type {
    ($length:literal) => {
        concat!(
            "(call $say (i32.const 32) (i32.const ",
            $length,
            ") (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 7))"
        )
    };
}

const EMPTY_EVENT_TYPE: &str =
    "(call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 7))";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = event_types();
    cases.extend(reasons());
    cases.extend(data());
    cases.extend(companies());
    cases
}

fn event_types() -> Vec<Case> {
    let refused = |name, words, act| at_event(name, Dead("event type", words), act);
    vec![
        refused("an_event_type_with_a_line_end", &["'\\n'"], &[("text", "a\\0adata: b"), ("act", emits_type!("9"))]),
        refused(
            "an_event_type_with_a_carriage_return",
            &["'\\r'"],
            &[("text", "a\\0ddata: b"), ("act", emits_type!("9"))],
        ),
        refused("an_event_type_with_a_nul", &["'\\0'"], &[("text", "a\\00b"), ("act", emits_type!("3"))]),
        refused("an_event_type_with_a_space", &["' '"], &[("text", "a b"), ("act", emits_type!("3"))]),
        refused(
            "an_event_type_with_a_line_end_of_unicode",
            &["\\u{2028}"],
            &[("text", "a\\e2\\80\\a8b"), ("act", emits_type!("5"))],
        ),
        refused("an_event_type_of_the_streams_own", &["`gap`"], &[("text", "gap"), ("act", emits_type!("3"))]),
        refused(
            "an_endless_event_type",
            &["bytes"],
            &[(
                "act",
                "(call $say (i32.const 16384) (i32.const 40000) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 7))",
            )],
        ),
        at_event("an_event_type_with_a_colon", Held, &[("text", "a:b"), ("act", emits_type!("3"))]),
        at_event(
            "an_event_type_that_is_no_utf_8",
            Dead("garbage", &["no UTF-8"]),
            &[("text", "\\ff\\fe"), ("act", emits_type!("2"))],
        ),
        at_event(
            "an_event_type_cut_in_a_character",
            Dead("garbage", &["no UTF-8"]),
            &[("text", "\\c3\\a4"), ("act", emits_type!("1"))],
        ),
        at_event("no_event_type_keeps_the_events_own", Held, &[("act", EMPTY_EVENT_TYPE)]),
    ]
}

fn reasons() -> Vec<Case> {
    const LINES: (&str, &str) = ("text", "a\\0d\\0aTidegate-Company: b\\00\\1b[2J");
    vec![
        at_event(
            "a_reason_with_line_ends",
            Held,
            &[LINES, ("act", "(call $verdict (i32.const 0) (i32.const 32) (i32.const 28) (i32.const 0))")],
        ),
        at_event(
            "an_endless_reason",
            Held,
            &[
                ("fields", "(func $long (memory.fill (i32.const 32768) (i32.const 0x61) (i32.const 32768)))"),
                ("act", "(call $long) (call $verdict (i32.const 0) (i32.const 32768) (i32.const 32768) (i32.const 0))"),
            ],
        ),
        at_event(
            "a_reason_that_is_no_utf_8",
            Dead("garbage", &["no UTF-8"]),
            &[
                ("text", "\\ed\\a0\\80"),
                ("act", "(call $verdict (i32.const 0) (i32.const 32) (i32.const 3) (i32.const 0))"),
            ],
        ),
        at_event(
            "an_error_with_line_ends",
            Dead("error", &["a  Tidegate-Company: b"]),
            &[LINES, ("act", "(call $verdict (i32.const 2) (i32.const 32) (i32.const 28) (i32.const 0))")],
        ),
        at_event(
            "an_endless_error",
            Dead("error", &["aaaa"]),
            &[
                ("fields", "(func $long (memory.fill (i32.const 32768) (i32.const 0x61) (i32.const 32768)))"),
                ("act", "(call $long) (call $verdict (i32.const 2) (i32.const 32768) (i32.const 32768) (i32.const 0))"),
            ],
        ),
        at_event(
            "last_words_with_line_ends",
            Dead("trap", &["it said: a  Tidegate-Company: b"]),
            &[LINES, ("act", "(call $log (i32.const 3) (i32.const 32) (i32.const 28)) unreachable")],
        ),
        at_event(
            "a_function_named_with_line_ends",
            Dead("trap", &[]),
            &[
                ("fields", "(func $\"evil\\0d\\0aTidegate-Company: b\\00\\1b[2J\" unreachable)"),
                ("act", "(call $\"evil\\0d\\0aTidegate-Company: b\\00\\1b[2J\")"),
            ],
        ),
    ]
}

fn data() -> Vec<Case> {
    const DATA: &str =
        "(call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 32) (i32.const 3))";
    let refused = |name, words, act| at_event(name, Dead("data", words), act);
    vec![
        refused("data_with_a_nul", &["NUL"], &[("text", "a\\00b"), ("act", DATA)]),
        refused("data_that_is_no_utf_8", &["no UTF-8"], &[("text", "\\ff\\fe\\fd"), ("act", DATA)]),
        at_event("data_with_line_ends", Held, &[("text", "\\0d\\0a\\0a"), ("act", DATA)]),
    ]
}

fn companies() -> Vec<Case> {
    const NAMES: &str =
        "(call $say (i32.const 0) (i32.const 7) (i32.const 32) (i32.const 9) (i32.const 0) (i32.const 7))";
    let platform = |name, fate: Fate, act| at_event(name, fate, act).on_platform();
    vec![
        at_event("a_companys_filter_that_names_another_company", Dead("company", &["only a platform filter may"]), &[
            ("text", "neighbour"),
            ("act", NAMES),
        ]),
        platform("a_platform_filter_that_names_a_path", Dead("company", &["company"]), &[("text", "../../../"), ("act", NAMES)]),
        platform("a_platform_filter_that_names_a_company_with_a_line_end", Dead("company", &["company"]), &[
            ("text", "neigh\\0aour"),
            ("act", NAMES),
        ]),
        platform("a_platform_filter_that_names_only_commas", Dead("no company", &["no filter decided"]), &[
            ("text", ", , , , ,"),
            ("act", NAMES),
        ]),
        platform("a_platform_filter_that_gives_no_type", Dead("no event type", &["no filter decided"]), &[
            ("act", "(call $say (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 0) (i32.const 7))"),
        ]),
        platform("a_platform_filter_that_never_ends", Dead("timeout", &["40 ms (call-ms)"]), &[
            ("act", "(loop $forever (br $forever))"),
        ])
        .with("[limits]\ncall-ms = 40\n"),
        platform("a_platform_filter_that_names_three_thousand_companies", Dead("output", &["over 1000 companies"]), &[
            // a,b,c, … in all letters of two bytes each: `aa,ab,…`
            ("fields", "(func $names (local $n i32)
                (loop $more
                  (i32.store8 (i32.add (i32.const 16384) (i32.mul (local.get $n) (i32.const 4))) (i32.add (i32.const 97) (i32.rem_u (local.get $n) (i32.const 26))))
                  (i32.store8 offset=1 (i32.add (i32.const 16384) (i32.mul (local.get $n) (i32.const 4))) (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $n) (i32.const 26)) (i32.const 26))))
                  (i32.store8 offset=2 (i32.add (i32.const 16384) (i32.mul (local.get $n) (i32.const 4))) (i32.add (i32.const 97) (i32.div_u (local.get $n) (i32.const 676))))
                  (i32.store8 offset=3 (i32.add (i32.const 16384) (i32.mul (local.get $n) (i32.const 4))) (i32.const 44))
                  (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br_if $more (i32.lt_u (local.get $n) (i32.const 3000)))))"),
            ("act", "(call $names) (call $say (i32.const 0) (i32.const 7) (i32.const 16384) (i32.const 12000) (i32.const 0) (i32.const 7))"),
        ]),
    ]
}
