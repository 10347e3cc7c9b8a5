//! Files that are no filters, or built for something else.

use crate::Fate::Refused;
use crate::{Case, WORLD, at_event, file, guest, harmless, with_world};
use std::fmt::Write as _;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = damaged();
    cases.extend(imports());
    cases.extend(worlds());
    cases.extend(components());
    cases
}

fn format(name: &'static str, words: &'static [&'static str], make: fn() -> Vec<u8>) -> Case {
    file(name, Refused("format", words), make)
}

fn damaged() -> Vec<Case> {
    vec![
        format("an_empty_file", &["empty", "tidegate build"], Vec::new),
        format("a_text", &["no WebAssembly"], || b"hello".to_vec()),
        format("the_text_of_a_module", &["WebAssembly text", "wat2wasm"], || b"(module)".to_vec()),
        format("a_library_of_the_system", &["ELF", "wasm32-unknown-unknown"], || {
            b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec()
        }),
        format("half_a_header", &["cut off"], || b"\0asm\x01".to_vec()),
        format("a_version_that_nobody_knows", &["version"], || b"\0asm\x07\0\0\0".to_vec()),
        format("half_a_module", &["damaged"], || half(&harmless())),
        format("half_a_component", &["damaged"], || half(&component())),
        format("a_section_that_is_longer_than_the_file", &["damaged"], || {
            b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f".to_vec()
        }),
        file("a_body_that_is_no_code", Refused("world", &["can't be made a component"]), || {
            let mut module = harmless();
            // Somewhere in the code: opcode 0xff is none.
            let at = module.windows(4).rposition(|bytes| bytes == [0x20, 0x00, 0x41, 0x01]).unwrap_or(module.len() / 2);
            module[at] = 0xff;
            module
        }),
        file("a_file_above_its_limit", Refused("size", &["module-mib", "1 MiB"]), || vec![0; (1 << 20) + 1])
            .with("[limits]\nmodule-mib = 1\n"),
    ]
}

fn half(whole: &[u8]) -> Vec<u8> {
    whole[..whole.len() / 2].to_vec()
}

fn component() -> Vec<u8> {
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(&harmless()).expect("a module").validate(true).encode().expect("a component")
}

fn imports() -> Vec<Case> {
    let world = |name, words, slots| at_event(name, Refused("world", words), slots);
    vec![
        world(
            "wants_the_clock_of_wasi",
            &["clock_time_get", "no WASI", "wasm32-unknown-unknown"],
            &[(
                "imports",
                r#"(import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))"#,
            )],
        ),
        world(
            "wants_randomness_of_wasi",
            &["random_get", "no WASI"],
            &[("imports", r#"(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))"#)],
        ),
        world(
            "wants_a_symbol_that_nobody_defined",
            &["env `abort`", "no library defined"],
            &[("imports", r#"(import "env" "abort" (func))"#)],
        ),
        world(
            "wants_the_clock_of_a_browser",
            &["wasm-bindgen"],
            &[("imports", r#"(import "__wbindgen_placeholder__" "__wbg_now" (func (result f64)))"#)],
        ),
        world(
            "wants_what_the_world_has_not",
            &["clock"],
            &[("imports", r#"(import "tidegate:filter/clock@2.0.0" "now" (func (result i64)))"#)],
        ),
        world(
            "wants_more_of_state_than_there_is",
            &["clear"],
            &[("imports", r#"(import "tidegate:filter/state@2.0.0" "clear" (func))"#)],
        ),
        world(
            "wants_an_import_with_a_name_of_line_ends",
            &["evil"],
            &[("imports", "(import \"evil\\0d\\0alevel=error\\1b[2J\" \"x\" (func))")],
        ),
        world(
            "keeps_state_in_a_platform_filter",
            &["tidegate:filter/state", "keeps nothing"],
            &[
                ("imports", r#"(import "tidegate:filter/state@2.0.0" "get" (func $get (param i32 i32 i32)))"#),
                ("init", "(call $get (i32.const 0) (i32.const 7) (i32.const 1100))"),
            ],
        )
        .on_platform(),
    ]
}

fn worlds() -> Vec<Case> {
    let world = |name, words, make: fn() -> Vec<u8>| file(name, Refused("world", words), make);
    vec![
        world("a_module_without_a_world", &["component-type", "guest SDK"], || {
            wat::parse_str("(module)").expect("parses")
        }),
        world("a_world_that_is_none", &["component-type"], || {
            let mut module = wat::parse_str("(module)").expect("parses");
            module.extend(section("component-type", b"no world at all"));
            module
        }),
        world("a_world_with_an_endless_name", &["component-type"], || {
            let mut module = wat::parse_str("(module)").expect("parses");
            module.extend(section(&format!("component-type:{}", "x".repeat(90_000)), b"\0asm\x0d\0\x01\0"));
            module
        }),
        world("no_describe", &["exports no function `describe`"], || lacking("describe")),
        world("no_init", &["exports no function `init`"], || lacking("init")),
        world("no_process", &["exports no function `process`"], || lacking("process")),
        world("no_memory", &["memory"], || {
            let text = crate::guest::text(&[], false);
            with_world(&text.replace(r#"(memory (export "memory") 4)"#, "(memory 4)"), WORLD)
        }),
        world("no_realloc", &["realloc"], || {
            let text = crate::guest::text(&[], false);
            with_world(&text.replace(r#"(export "cabi_realloc")"#, ""), WORLD)
        }),
        world("a_describe_of_another_type", &["describe"], || {
            let slots = [("describe-type", "(param i32) (result i32)")];
            guest::guest(&slots, false)
        }),
        world("a_process_of_another_world", &["doesn't fit tidegate:filter 2.x", "process"], || {
            changed(
                "process: func(events: list<event>, bytes: list<u8>) -> batch-result",
                "process: func(event: u32, bytes: list<u8>, other: u32) -> batch-result",
            )
        }),
        world("a_result_with_a_field_more", &["doesn't fit tidegate:filter 2.x"], || {
            changed("state-version: u32,", "state-version: u32, more: u32,")
        }),
        file("a_later_version", Refused("version", &["3.0.0", "1.0.0 to every later 1.x"]), || versioned("3.0.0")),
        file("an_earlier_version", Refused("version", &["0.9.0", "1.0.0 to every later 1.x"]), || versioned("0.9.0")),
    ]
}

fn section(name: &str, body: &[u8]) -> Vec<u8> {
    let mut content = leb(name.len());
    content.extend(name.as_bytes());
    content.extend(body);
    let mut section = vec![0];
    section.extend(leb(content.len()));
    section.extend(content);
    section
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// The guest for a world without this export.
fn lacking(name: &str) -> Vec<u8> {
    let lines = |text: &str, begin: &str| -> String {
        text.lines().filter(|line| !line.trim_start().starts_with(begin)).map(|line| format!("{line}\n")).collect()
    };
    let text = crate::guest::text(&[], false);
    let mut text = text.replace(&format!(r#"(export "{name}")"#), "");
    if name == "process" {
        text = text.replace(r#"(export "cabi_post_process")"#, "");
    }
    with_world(&text, &lines(WORLD, &format!("export {name}:")))
}

fn changed(from: &str, to: &str) -> Vec<u8> {
    assert!(WORLD.contains(from), "{from}");
    with_world(&crate::guest::text(&[], false), &WORLD.replace(from, to))
}

fn versioned(version: &str) -> Vec<u8> {
    let at = |text: &str| text.replace("@2.0.0", &format!("@{version}"));
    with_world(&at(&crate::guest::text(&[], false)), &at(WORLD))
}

fn components() -> Vec<Case> {
    vec![
        file("a_component_that_wants_wasi", Refused("world", &["wasi:clocks", "wasm32-unknown-unknown"]), || {
            text_component(
                r#"(import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64)))))"#,
            )
        }),
        file(
            "a_component_that_wants_something_else",
            Refused("world", &["other:thing/x", "log and tidegate:filter/state only"]),
            || text_component(r#"(import "other:thing/x@1.0.0" (instance))"#),
        ),
        file("a_component_without_anything", Refused("world", &["exports no function `describe`"]), || {
            text_component("")
        }),
        file("a_hundred_thousand_components_in_one_another", Refused("format", &["nest in one another"]), || {
            nested(100_000)
        }),
        file("two_thousand_components_beside_one_another", Refused("world", &["exports no function"]), || {
            text_component(&"(component)".repeat(2000))
        }),
        file("a_hundred_thousand_types_in_one_another", Refused("format", &["damaged", "deep"]), || types(100_000)),
        // A filter in every other way: without a bound of ours it comes as far as the compiler.
        file("a_filter_with_a_hundred_thousand_types_in_one_another", Refused("format", &["damaged", "deep"]), || {
            let mut bytes = component();
            bytes.extend(&types(100_000)[COMPONENT.len()..]);
            bytes
        }),
        file("a_world_of_a_hundred_thousand_types_in_one_another", Refused("world", &["deep"]), || {
            let mut module = wat::parse_str("(module)").expect("parses");
            module.extend(section("component-type", &types(100_000)));
            module
        }),
        file("a_hundred_thousand_lists_of_lists", Refused("compile", &["too deep"]), || lists(100_000)),
        file("five_thousand_lists_of_lists", Refused("compile", &["too deep"]), || lists(5_000)),
        file("a_world_of_a_hundred_thousand_lists_of_lists", Refused("world", &["too deep"]), || {
            let mut module = wat::parse_str("(module)").expect("parses");
            module.extend(section("component-type", &lists(100_000)));
            module
        }),
    ]
}

fn text_component(inner: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {inner})")).expect("parses")
}

/// A component that fits by name, and whose types are as deep as they are many.
fn lists(depth: usize) -> Vec<u8> {
    let mut inner = String::from("(type $t0 (list u8))");
    for n in 1..depth {
        let _ = write!(inner, "(type $t{n} (list $t{}))", n - 1);
    }
    let _ = write!(
        inner,
        "(import \"tidegate:filter/log@2.0.0\" (instance $log (export \"write\" (func (param \"m\" $t{})))))
         (alias export $log \"write\" (func $f))
         (export \"describe\" (func $f)) (export \"init\" (func $f)) (export \"process\" (func $f))",
        depth - 1
    );
    text_component(&inner)
}

const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// A component in a component in a component. Each is the last of the one around it, so that what opens them is enough.
fn nested(depth: usize) -> Vec<u8> {
    let (mut sizes, mut size) = (Vec::with_capacity(depth), COMPONENT.len());
    for _ in 0..depth {
        sizes.push(size);
        size += COMPONENT.len() + 1 + leb(size).len();
    }
    let mut bytes = COMPONENT.to_vec();
    for size in sizes.into_iter().rev() {
        bytes.push(4);
        bytes.extend(leb(size));
        bytes.extend(COMPONENT);
    }
    bytes
}

/// The type of a component that declares the type of a component that declares …
fn types(depth: usize) -> Vec<u8> {
    let mut body = vec![1];
    body.extend([0x41, 1, 1].repeat(depth));
    body.extend([0x41, 0]);
    let mut bytes = COMPONENT.to_vec();
    bytes.push(7);
    bytes.extend(leb(body.len()));
    bytes.extend(body);
    bytes
}
