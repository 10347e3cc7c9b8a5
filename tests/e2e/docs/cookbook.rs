//! The cookbook for filters: its Rust is compiled and run as the SDK's documentation, its settings are read by the host's
//! own tests, and the filter that stands in other languages, too, is run here.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tidegate_tests::tools;

use super::COOKBOOK;
use super::blocks::{self, Mark};

/// What the filter is given, in JavaScript and in Python.
const PAYLOADS: &str = r#"['{"value":50,"n":1}', '{"n":1}', '{"value":"50"}', '{"value":null}', '[50]', '7', 'null']"#;
/// What becomes of each.
const ANSWERS: &str = r#"{"value":0.5,"n":1}
{"n":1}
`value` is no number
`value` is no number
[50]
7
null
"#;

#[test]
fn its_rust_is_run_with_the_sdk() {
    let module = tools::root().join("guest-sdk/rust/src/cookbook.rs");
    let module = fs::read_to_string(module).expect("the module");
    assert!(module.contains(r#"include_str!("../../COOKBOOK.md")"#), "its Rust is no longer run with the SDK's tests");
}

#[test]
fn its_other_blocks_are_read_or_run() {
    let mut ran = Vec::new();
    for block in blocks::of(COOKBOOK).expect("the cookbook") {
        let done = match (block.language.as_str(), &block.mark) {
            ("rust" | "toml", Mark::Missing) => continue,
            ("js", Mark::Parse) => javascript(&block.text),
            ("python", Mark::Missing) => python(&block.text),
            ("c", Mark::Missing) => c(&block.text),
            (other, mark) => panic!("{}: nothing here reads {other:?} with {mark:?}", block.place),
        };
        done.unwrap_or_else(|error| panic!("{}: {error:#}", block.place));
        ran.push(block.language);
    }
    assert_eq!(ran, ["js", "python", "c"]);
}

fn javascript(filter: &str) -> Result<()> {
    let sdk = format!("file://{}/guest-sdk/js/", tools::root().display());
    let asked = format!(
        r#"{filter}
import {{ Event }} from "./tidegate-guest/js/tidegate.js";
const answer = ({{ data, text }}) => text ?? new TextDecoder().decode(data);
for (const payload of {PAYLOADS}) {{
  let said = payload;
  try {{ said = answer(process(Event.of({{ payload }}))); }} catch (problem) {{ said = String(problem); }}
  console.log(said);
}}
"#
    );
    let asked = asked.replace("./tidegate-guest/js/", &sdk);
    answers(Command::new("node").args(["--input-type=module", "-"]), &asked)
}

fn python(filter: &str) -> Result<()> {
    let asked = format!(
        r#"{filter}
for payload in {PAYLOADS}:
    said = process(Event.of(payload=payload))
    print(getattr(said, "text", None) or (payload if said.data is None else said.data.decode()))
"#
    );
    answers(Command::new("python3").arg("-").env("PYTHONPATH", tools::root().join("guest-sdk/python")), &asked)
}

/// Building it takes the host's tool chain, which other tests do: here it is read with every warning.
fn c(filter: &str) -> Result<()> {
    let mut clang = Command::new("clang");
    clang.args(["-fsyntax-only", "-std=c11", "-Wall", "-Wextra", "-Werror", "-x", "c", "-I"]);
    told(clang.arg(tools::root().join("guest-sdk/c")).arg("-"), filter).map(drop)
}

fn answers(command: &mut Command, asked: &str) -> Result<()> {
    let said = told(command, asked)?;
    ensure!(said == ANSWERS, "{said}");
    Ok(())
}

/// What a program prints that is given this text.
fn told(command: &mut Command, text: &str) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut program = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {name}"))?;
    program.stdin.take().context("an input")?.write_all(text.as_bytes())?;
    let done = program.wait_with_output()?;
    ensure!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?)
}
