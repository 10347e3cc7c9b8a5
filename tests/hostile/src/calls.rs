//! Guests that take what is not theirs while they work: time, memory, stack, and every kind of trap.

use crate::Fate::{AllDead, Dead};
use crate::{Case, Fate, at_event};

/// Time enough for what is bounded otherwise, and little for what never ends.
const SHORT: &str = "[limits]\ncall-ms = 40\nmemory-mib = 8\n";

fn trap(name: &'static str, words: &'static [&'static str], act: &'static [(&'static str, &'static str)]) -> Case {
    at_event(name, Dead("trap", words), act)
}

fn endless(name: &'static str, act: &'static [(&'static str, &'static str)]) -> Case {
    at_event(name, Dead("timeout", &["40 ms (call-ms)"]), act).with(SHORT)
}

fn greedy(name: &'static str, act: &'static [(&'static str, &'static str)]) -> Case {
    at_event(name, Dead("memory", &["8 MiB (memory-mib)"]), act).with(SHORT)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = traps();
    cases.extend(loops());
    cases.extend(memory());
    cases.extend(stack());
    cases.extend(around_the_call());
    cases
}

fn traps() -> Vec<Case> {
    vec![
        trap("gives_up", &["`unreachable`: a panic or an abort"], &[("act", "unreachable")]),
        trap(
            "gives_up_with_words",
            &["it said: hostile"],
            &[("act", "(call $log (i32.const 3) (i32.const 0) (i32.const 7)) unreachable")],
        ),
        trap("divides_by_zero", &["divide by zero"], &[("act", "(drop (i32.div_u (local.get $event) (i32.const 0)))")]),
        trap(
            "overflows_a_division",
            &["integer overflow"],
            &[("act", "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))")],
        ),
        trap("reads_beyond_memory", &["out of bounds memory access"], &[("act", "(drop (i32.load (i32.const -4)))")]),
        trap(
            "writes_beyond_memory",
            &["out of bounds memory access"],
            &[("act", "(i64.store offset=0xffffffff (i32.const -1) (i64.const 1))")],
        ),
        trap(
            "copies_beyond_memory",
            &["out of bounds memory access"],
            &[("act", "(memory.copy (i32.const 0) (i32.const 8) (i32.const -1))")],
        ),
        trap(
            "takes_data_that_is_gone",
            &["out of bounds memory access"],
            &[
                ("fields", r#"(data $passive "abc")"#),
                ("act", "(data.drop $passive) (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 3))"),
            ],
        ),
        trap(
            "calls_beyond_the_table",
            &["out of bounds table access"],
            &[("fields", "(table 2 funcref)"), ("act", "(call_indirect (type $none) (i32.const 9))")],
        ),
        trap(
            "calls_an_empty_place",
            &["uninitialized element"],
            &[("fields", "(table 2 funcref)"), ("act", "(call_indirect (type $none) (i32.const 1))")],
        ),
        trap(
            "calls_a_function_of_another_type",
            &["indirect call type mismatch"],
            &[
                ("fields", "(table 2 funcref) (elem (i32.const 0) $pass)"),
                ("act", "(call_indirect (type $none) (i32.const 0))"),
            ],
        ),
        trap(
            "reads_beyond_the_table",
            &["out of bounds table access"],
            &[("fields", "(table $table 2 funcref)"), ("act", "(drop (table.get $table (i32.const 2)))")],
        ),
        trap(
            "fills_beyond_the_table",
            &["out of bounds table access"],
            &[
                ("fields", "(table $table 2 funcref) (elem $elements func $pass)"),
                ("act", "(table.init $table $elements (i32.const 2) (i32.const 0) (i32.const 1))"),
            ],
        ),
        trap(
            "makes_no_number_an_integer",
            &["invalid conversion to integer"],
            &[("act", "(drop (i32.trunc_f32_s (f32.const nan)))")],
        ),
        trap(
            "makes_a_large_number_an_integer",
            &["integer overflow"],
            &[("act", "(drop (i64.trunc_f64_u (f64.const 1e300)))")],
        ),
    ]
}

fn loops() -> Vec<Case> {
    vec![
        endless("never_ends", &[("act", "(loop $forever (br $forever))")]),
        endless("never_ends_by_tail_calls", &[
            ("fields", "(func $round (param i32) (return_call $round (local.get 0)))"),
            ("act", "(call $round (i32.const 1))"),
        ]),
        endless("never_ends_by_a_table_of_branches", &[
            ("act", "(loop $a (block $b (br_table $a $b $a (global.get $n))) (br $a))"),
        ]),
        endless("fills_all_memory_for_ever", &[
            ("act", "(loop $forever (memory.fill (i32.const 131072) (i32.const 7) (i32.const 131072)) (br $forever))"),
        ]),
        endless("copies_all_memory_for_ever", &[
            ("act", "(drop (memory.grow (i32.const 100)))
                (loop $forever (memory.copy (i32.const 131072) (i32.const 131073) (i32.const 6000000)) (br $forever))"),
        ]),
        endless("grows_refused_memory_for_ever", &[
            // Refused memory is no trap: it is the time that ends it.
            ("act", "(loop $forever (drop (memory.grow (i32.const 0))) (br $forever))"),
        ]),
        endless("recurses_without_depth_for_ever", &[
            ("fields", "(func $tree (param i32)
                (if (local.get 0) (then
                  (call $tree (i32.sub (local.get 0) (i32.const 1))) (call $tree (i32.sub (local.get 0) (i32.const 1))))))"),
            ("act", "(call $tree (i32.const 64))"),
        ]),
    ]
}

fn memory() -> Vec<Case> {
    const GROW: &str = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    vec![
        greedy("takes_memory_without_end", &[("act", GROW)]),
        greedy("takes_all_memory_at_once", &[
            ("act", "(if (i32.eq (memory.grow (i32.const 65532)) (i32.const -1)) (then unreachable))"),
        ]),
        greedy("takes_memory_from_each_of_its_memories", &[
            ("fields", "(memory $second 4) (memory $third 4)"),
            ("act", "(loop $more (br_if $more (i32.ne (memory.grow $second (i32.const 1)) (i32.const -1))))
                (loop $more (br_if $more (i32.ne (memory.grow $third (i32.const 1)) (i32.const -1)))) unreachable"),
        ]),
        at_event("takes_table_without_end", Dead("memory", &["table"]), &[
            ("fields", "(table $table 1 funcref)"),
            ("act", "(loop $more (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable"),
        ]),
        at_event("touches_all_its_memory", Fate::Held, &[
            ("act", "(drop (memory.grow (i32.const 100)))
                (memory.fill (global.get $bump) (i32.const 1) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (global.get $bump)))
                (call $pass (local.get $event))"),
        ])
        .with("[limits]\nmemory-mib = 8\n"),
    ]
}

fn stack() -> Vec<Case> {
    vec![
        trap("recurses_for_ever", &["its stack overflowed"], &[
            ("fields", "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))"),
            ("act", "(drop (call $deep (i32.const 1)))"),
        ]),
        trap("recurses_through_a_table", &["its stack overflowed"], &[
            ("fields", "(table 1 funcref) (elem (i32.const 0) $deep)
                (func $deep (call_indirect (type $none) (i32.const 0)) (global.set $n (i32.const 1)))"),
            ("act", "(call $deep)"),
        ]),
        trap("recurses_by_turns_with_much_on_the_stack", &["its stack overflowed"], &[
            ("fields", "
                (func $even (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
                  (i64.mul (call $odd (local.get 7) (local.get 6) (local.get 5) (local.get 4) (local.get 3) (local.get 2) (local.get 1) (local.get 0))
                    (i64.add (local.get 0) (local.get 7))))
                (func $odd (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
                  (i64.add (call $even (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7))
                    (i64.mul (local.get 0) (local.get 7))))"),
            ("act", "(drop (call $even (i64.const 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6) (i64.const 7)))"),
        ]),
    ]
}

/// What the host calls before and after `process`.
fn around_the_call() -> Vec<Case> {
    // Of `realloc`: `init` is given two bytes, a batch of events at least 56.
    vec![
        at_event(
            "gives_the_host_memory_that_it_has_not",
            AllDead("garbage", &["realloc"]),
            &[("realloc", "(if (i32.ge_u (local.get $size) (i32.const 56)) (then (return (i32.const -8))))")],
        ),
        at_event(
            "gives_the_host_memory_at_an_odd_place",
            AllDead("garbage", &["realloc"]),
            &[("realloc", "(if (i32.ge_u (local.get $size) (i32.const 56)) (then (return (i32.const 131073))))")],
        ),
        at_event(
            "gives_the_host_no_memory",
            AllDead("trap", &["gave up"]),
            &[("realloc", "(if (i32.ge_u (local.get $size) (i32.const 56)) (then unreachable))")],
        ),
        at_event(
            "never_gives_the_host_memory",
            AllDead("timeout", &["40 ms (call-ms)"]),
            &[("realloc", "(if (i32.ge_u (local.get $size) (i32.const 56)) (then (loop $forever (br $forever))))")],
        )
        .with(SHORT),
        at_event(
            "gives_the_host_the_same_memory_twice",
            Fate::Held,
            &[
                // What the guest then sees is its own to blame: no event of its batch is longer than its records.
                ("realloc", "(if (i32.eqz (local.get $size)) (then (return (i32.const 131072))))"),
            ],
        ),
        at_event(
            "writes_a_log_where_it_gives_the_host_memory",
            AllDead("trap", &["cannot leave component instance"]),
            &[(
                "realloc",
                "(if (i32.ge_u (local.get $size) (i32.const 56)) (then (call $log (i32.const 1) (i32.const 0) (i32.const 7))))",
            )],
        ),
        trap(
            "gives_up_after_its_answer",
            &["gave up"],
            &[("act", "(call $pass (local.get $event))"), ("post", "unreachable")],
        ),
        endless(
            "never_ends_after_its_answer",
            &[("act", "(call $pass (local.get $event))"), ("post", "(loop $forever (br $forever))")],
        ),
        trap(
            "writes_a_log_after_its_answer",
            &["cannot leave component instance"],
            &[
                ("act", "(call $pass (local.get $event))"),
                ("post", "(call $log (i32.const 1) (i32.const 0) (i32.const 7))"),
            ],
        ),
    ]
}
