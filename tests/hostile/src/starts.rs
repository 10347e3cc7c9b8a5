//! Guests that do their harm before the first event: when they are started, described, or given their configuration.

use crate::Case;
use crate::Fate::{Held, Refused};
use crate::at_event;

fn start(name: &'static str, words: &'static [&'static str], slots: &'static [(&'static str, &'static str)]) -> Case {
    at_event(name, Refused("start", words), slots).with("[limits]\ncall-ms = 20\n")
}

fn refuses(name: &'static str, words: &'static [&'static str], slots: &'static [(&'static str, &'static str)]) -> Case {
    at_event(name, Refused("refused", words), slots)
}

/// `init` refuses with the text at 32.
macro_rules! init_refuses {
    ($at:literal, $length:literal) => {
        concat!(
            "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const ",
            $at,
            ")) (i32.store (i32.const 1032) (i32.const ",
            $length,
            "))"
        )
    };
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = starts();
    cases.extend(descriptions());
    cases.extend(configurations());
    cases
}

fn starts() -> Vec<Case> {
    vec![
        start(
            "never_starts",
            &["200 ms", "ten times call-ms"],
            &[("fields", "(func $start (loop $forever (br $forever))) (start $start)")],
        ),
        start("gives_up_when_it_is_started", &["gave up"], &[("fields", "(func $start unreachable) (start $start)")]),
        start(
            "overflows_its_stack_when_it_is_started",
            &["stack overflowed"],
            &[("fields", "(func $start (call $start) (global.set $n (i32.const 1))) (start $start)")],
        ),
        start(
            "takes_memory_without_end_when_it_is_started",
            &["64 MiB (memory-mib)"],
            &[(
                "fields",
                "(func $start (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable) (start $start)",
            )],
        ),
        start(
            "writes_data_beyond_its_memory",
            &["out of bounds memory access"],
            &[("fields", r#"(data (i32.const 262143) "abc")"#)],
        ),
        start(
            "writes_functions_beyond_its_table",
            &["out of bounds table access"],
            &[("fields", "(table 1 funcref) (elem (i32.const 1) $pass)")],
        ),
        start(
            "begins_with_more_memory_than_it_may_have",
            &["memory"],
            &[("memory", r#"(memory (export "memory") 65535)"#)],
        ),
        start("begins_with_a_table_of_ten_million", &["table"], &[("fields", "(table 10000000 funcref)")]),
        start(
            "begins_with_memories_that_are_too_much_together",
            &["memory"],
            &[("fields", "(memory 400) (memory 400) (memory 400)")],
        ),
        start(
            "begins_with_seventeen_memories",
            &["memory count too high"],
            &[(
                "fields",
                "(memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1)
             (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1)",
            )],
        ),
        start(
            "reads_state_when_it_is_started",
            &["state is offered within `process` only"],
            &[("init", "(call $get (i32.const 0) (i32.const 7) (i32.const 1100))")],
        ),
    ]
}

fn descriptions() -> Vec<Case> {
    vec![
        start(
            "never_describes_itself",
            &["200 ms", "ten times call-ms"],
            &[("describe", "(loop $forever (br $forever))")],
        ),
        start(
            "brings_a_schema_in_a_circle",
            &["JSON Schema", "`$ref`s to its own"],
            &[
                ("fields", "(data (i32.const 65536) \"{\\22$ref\\22:\\22#\\22}\")"),
                (
                    "describe",
                    "(i32.store (i32.const 1060) (i32.const 65536)) (i32.store (i32.const 1064) (i32.const 12))",
                ),
            ],
        ),
        start(
            "brings_a_schema_that_takes_years_to_follow",
            &["JSON Schema", "is too large"],
            &[
                (
                    "fields",
                    "(data (i32.const 65536) \"{\\22$ref\\22:\\22#/$defs/a\\22,\\22$defs\\22:{\\22a\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/b\\22},{\\22$ref\\22:\\22#/$defs/b\\22},{\\22$ref\\22:\\22#/$defs/b\\22},{\\22$ref\\22:\\22#/$defs/b\\22}]},\\22b\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/c\\22},{\\22$ref\\22:\\22#/$defs/c\\22},{\\22$ref\\22:\\22#/$defs/c\\22},{\\22$ref\\22:\\22#/$defs/c\\22}]},\\22c\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/d\\22},{\\22$ref\\22:\\22#/$defs/d\\22},{\\22$ref\\22:\\22#/$defs/d\\22},{\\22$ref\\22:\\22#/$defs/d\\22}]},\\22d\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/e\\22},{\\22$ref\\22:\\22#/$defs/e\\22},{\\22$ref\\22:\\22#/$defs/e\\22},{\\22$ref\\22:\\22#/$defs/e\\22}]},\\22e\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/f\\22},{\\22$ref\\22:\\22#/$defs/f\\22},{\\22$ref\\22:\\22#/$defs/f\\22},{\\22$ref\\22:\\22#/$defs/f\\22}]},\\22f\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/g\\22},{\\22$ref\\22:\\22#/$defs/g\\22},{\\22$ref\\22:\\22#/$defs/g\\22},{\\22$ref\\22:\\22#/$defs/g\\22}]},\\22g\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/h\\22},{\\22$ref\\22:\\22#/$defs/h\\22},{\\22$ref\\22:\\22#/$defs/h\\22},{\\22$ref\\22:\\22#/$defs/h\\22}]},\\22h\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/i\\22},{\\22$ref\\22:\\22#/$defs/i\\22},{\\22$ref\\22:\\22#/$defs/i\\22},{\\22$ref\\22:\\22#/$defs/i\\22}]},\\22i\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/j\\22},{\\22$ref\\22:\\22#/$defs/j\\22},{\\22$ref\\22:\\22#/$defs/j\\22},{\\22$ref\\22:\\22#/$defs/j\\22}]},\\22j\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/k\\22},{\\22$ref\\22:\\22#/$defs/k\\22},{\\22$ref\\22:\\22#/$defs/k\\22},{\\22$ref\\22:\\22#/$defs/k\\22}]},\\22k\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/l\\22},{\\22$ref\\22:\\22#/$defs/l\\22},{\\22$ref\\22:\\22#/$defs/l\\22},{\\22$ref\\22:\\22#/$defs/l\\22}]},\\22l\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/m\\22},{\\22$ref\\22:\\22#/$defs/m\\22},{\\22$ref\\22:\\22#/$defs/m\\22},{\\22$ref\\22:\\22#/$defs/m\\22}]},\\22m\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/n\\22},{\\22$ref\\22:\\22#/$defs/n\\22},{\\22$ref\\22:\\22#/$defs/n\\22},{\\22$ref\\22:\\22#/$defs/n\\22}]},\\22n\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/o\\22},{\\22$ref\\22:\\22#/$defs/o\\22},{\\22$ref\\22:\\22#/$defs/o\\22},{\\22$ref\\22:\\22#/$defs/o\\22}]},\\22o\\22:{\\22anyOf\\22:[{\\22$ref\\22:\\22#/$defs/p\\22},{\\22$ref\\22:\\22#/$defs/p\\22},{\\22$ref\\22:\\22#/$defs/p\\22},{\\22$ref\\22:\\22#/$defs/p\\22}]},\\22p\\22:{\\22const\\22:1}}}\")",
                ),
                (
                    "describe",
                    "(i32.store (i32.const 1060) (i32.const 65536)) (i32.store (i32.const 1064) (i32.const 1546))",
                ),
            ],
        ),
        start(
            "brings_a_schema_of_another_machine",
            &["JSON Schema", "refers to `file:///etc/passwd`"],
            &[
                ("fields", "(data (i32.const 65536) \"{\\22$ref\\22:\\22file:///etc/passwd\\22}\")"),
                (
                    "describe",
                    "(i32.store (i32.const 1060) (i32.const 65536)) (i32.store (i32.const 1064) (i32.const 29))",
                ),
            ],
        ),
        start(
            "brings_a_schema_that_is_no_json",
            &["JSON Schema", "is no JSON"],
            &[
                ("fields", "(data (i32.const 65536) \"{\\22type\\22:\")"),
                (
                    "describe",
                    "(i32.store (i32.const 1060) (i32.const 65536)) (i32.store (i32.const 1064) (i32.const 8))",
                ),
            ],
        ),
        start("gives_up_when_it_is_asked_what_it_is", &["gave up"], &[("describe", "unreachable")]),
        start(
            "describes_itself_without_a_name",
            &["the name \"\""],
            &[("describe", "(i32.store (i32.const 1028) (i32.const 0))")],
        ),
        start(
            "describes_itself_at_endless_length",
            &["over 128 bytes"],
            &[(
                "describe",
                "(i32.store (i32.const 1028) (i32.const 200000)) (memory.fill (i32.const 0) (i32.const 0x61) (i32.const 1024))",
            )],
        ),
        start(
            "describes_itself_with_line_ends",
            &["control characters"],
            &[
                ("text", "a\\0d\\0ab"),
                ("describe", "(i32.store (i32.const 1024) (i32.const 32)) (i32.store (i32.const 1028) (i32.const 4))"),
            ],
        ),
        start(
            "has_a_version_with_line_ends",
            &["control characters"],
            &[
                ("text", "1\\0a2"),
                ("describe", "(i32.store (i32.const 1032) (i32.const 32)) (i32.store (i32.const 1036) (i32.const 3))"),
            ],
        ),
        start(
            "describes_itself_in_no_utf_8",
            &["utf-8"],
            &[
                ("text", "\\ff\\fe"),
                ("describe", "(i32.store (i32.const 1024) (i32.const 32)) (i32.store (i32.const 1028) (i32.const 2))"),
            ],
        ),
        start(
            "describes_itself_from_beyond_memory",
            &["out of bounds"],
            &[("describe", "(i32.store (i32.const 1024) (i32.const -4))")],
        ),
        start("describes_itself_at_an_odd_place", &["aligned"], &[("describe", "(return (i32.const 1025))")]),
        start(
            "reads_a_subject_with_line_ends",
            &["subject"],
            &[
                ("text", "a\\0d\\0ab"),
                (
                    "describe",
                    "(i32.store (i32.const 512) (i32.const 32)) (i32.store (i32.const 516) (i32.const 4))
                (i32.store (i32.const 1040) (i32.const 512)) (i32.store (i32.const 1044) (i32.const 1))",
                ),
            ],
        ),
        start(
            "reads_an_endless_subject",
            &["subject"],
            &[(
                "describe",
                "(memory.fill (i32.const 65536) (i32.const 0x61) (i32.const 65536))
                (i32.store (i32.const 512) (i32.const 65536)) (i32.store (i32.const 516) (i32.const 65536))
                (i32.store (i32.const 1040) (i32.const 512)) (i32.store (i32.const 1044) (i32.const 1))",
            )],
        ),
        start(
            "reads_two_thousand_subjects",
            &["over 1,000 subjects"],
            &[(
                "describe",
                "(i32.store (i32.const 1040) (i32.const 65536)) (i32.store (i32.const 1044) (i32.const 2000))",
            )],
        ),
        start(
            "reads_a_hundred_million_subjects",
            &["list"],
            &[(
                "describe",
                "(i32.store (i32.const 1040) (i32.const 65536)) (i32.store (i32.const 1044) (i32.const 100000000))",
            )],
        ),
        start(
            "emits_a_type_of_the_streams_own",
            &["`gap`"],
            &[
                ("text", "gap"),
                (
                    "describe",
                    "(i32.store (i32.const 512) (i32.const 32)) (i32.store (i32.const 516) (i32.const 3))
                (i32.store (i32.const 1048) (i32.const 512)) (i32.store (i32.const 1052) (i32.const 1))",
                ),
            ],
        ),
    ]
}

fn configurations() -> Vec<Case> {
    vec![
        start(
            "never_takes_its_configuration",
            &["200 ms", "ten times call-ms"],
            &[("init", "(loop $forever (br $forever))")],
        ),
        start("gives_up_over_its_configuration", &["gave up"], &[("init", "unreachable")]),
        start(
            "answers_its_configuration_with_neither_yes_nor_no",
            &["discriminant"],
            &[("init", "(i32.store8 (i32.const 1024) (i32.const 7))")],
        ),
        start("takes_its_configuration_to_no_memory", &["realloc"], &[("realloc", "(return (i32.const -8))")]),
        refuses(
            "refuses_its_configuration_with_line_ends",
            &["a  b"],
            &[("text", "a\\0d\\0ab"), ("init", init_refuses!("32", "4"))],
        ),
        refuses(
            "refuses_its_configuration_at_endless_length",
            &["aaaa"],
            &[(
                "init",
                concat!(
                    "(memory.fill (i32.const 131072) (i32.const 0x61) (i32.const 131072))",
                    init_refuses!("131072", "131072")
                ),
            )],
        ),
        at_event(
            "logs_ten_thousand_lines_over_its_configuration",
            Held,
            &[(
                "init",
                "(global.set $n (i32.const 10000)) (loop $again (call $log (i32.const 3) (i32.const 0) (i32.const 7))
                (global.set $n (i32.sub (global.get $n) (i32.const 1))) (br_if $again (global.get $n)))",
            )],
        ),
    ]
}
