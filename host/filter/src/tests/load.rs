//! The verdict over a file, and what is kept of it.

use super::Folder;
use super::guest::*;
use crate::{Engine, EngineSettings, Filter, Limits, LoadError, LogLevel, LogLine, LogSink, OnError, Role, World};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

fn refused(bytes: &[u8], role: Role) -> String {
    ENGINE.load(bytes, role, &Limits::default()).expect_err("refused").to_string()
}

#[test]
fn a_core_module_with_the_world_is_taken_and_says_what_it_is() {
    let bytes = guest();
    let code = ENGINE.load(&bytes, Role::Company, &Limits::default()).expect("loads");
    let said = code.description();
    assert_eq!((said.name.as_str(), said.version.as_str(), said.state_version), ("poison", "1.0.0", 3));
    assert_eq!((&**code.digest(), code.imports_state()), (blake3::hash(&bytes).to_hex().as_str(), true));
    assert!(!ENGINE.load(&platform_guest(), Role::Platform, &Limits::default()).expect("loads").imports_state());
}

#[test]
fn a_component_is_taken_as_it_is() {
    let component =
        wit_component::ComponentEncoder::default().module(&guest()).expect("a module").encode().expect("encodes");
    assert!(ENGINE.load(&component, Role::Company, &Limits::default()).is_ok());
}

#[test]
fn a_wrong_file_is_refused_with_the_way_out() {
    assert!(refused(&guest(), Role::Platform).contains("tidegate:filter/state"));
    assert!(
        refused(&changed_guest("@2.0.0", "@3.0.0"), Role::Company)
            .contains("this host serves 1.0.0 to every later 1.x")
    );
    assert!(
        refused(&with_world("(module)", "package other:thing; world filter { }"), Role::Company)
            .contains("exports no function `describe`")
    );
    let wasi = "package other:thing; world filter { import wasi:clocks/monotonic-clock@0.2.0; }";
    let wasi = format!("{wasi} package wasi:clocks@0.2.0 {{ interface monotonic-clock {{ now: func() -> u64; }} }}");
    let module = r#"(module (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func (result i64))))"#;
    assert!(refused(&with_world(module, &wasi), Role::Company).contains("wasm32-unknown-unknown"));
    let truncated = &guest()[..400];
    assert!(refused(truncated, Role::Company).contains("damaged"));
}

#[test]
fn an_export_of_another_type_is_refused_by_name() {
    let world = "package other:thing; world filter { export describe: func() -> string; export init: func(); export process: func(); }";
    let module = r#"(module (memory (export "memory") 1) (func (export "describe") (result i32) (i32.const 0))
        (func (export "init")) (func (export "process"))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"#;
    let told = refused(&with_world(module, world), Role::Company);
    assert!(told.contains("doesn't fit tidegate:filter 2.x") && told.contains("describe"), "{told}");
}

#[test]
fn size_and_first_memory_are_limited() {
    let limits = Limits { module_mib: 1, ..Limits::default() };
    let large = vec![0; (1 << 20) + 1];
    assert!(matches!(ENGINE.load(&large, Role::Company, &limits), Err(LoadError::TooLarge { mib: 1, .. })));
    let greedy = changed_guest(r#"(memory (export "memory") 4)"#, r#"(memory (export "memory") 2000)"#);
    let told = refused(&greedy, Role::Company);
    assert!(told.contains("memory"), "{told}");
}

#[test]
fn a_configuration_is_refused_in_the_filters_own_words() {
    let code = ENGINE.load(&guest(), Role::Company, &Limits::default()).expect("loads");
    let with =
        |name: &str, json: &str| Filter::new(&ENGINE, name, code.clone(), json, Limits::default(), OnError::DeadLetter);
    let told = with("10-a", "null").expect_err("refused");
    assert_eq!(told, LoadError::Refused("threshold is missing".into()));
    assert!(matches!(with("10-a", "true").expect_err("traps"), LoadError::Start(_)));
    assert!(matches!(with("10-a", "{").expect_err("no JSON"), LoadError::Configuration(_)));
    assert!(matches!(with("a/b", "{}").expect_err("no name"), LoadError::Configuration(_)));
    let (one, same, other) =
        (with("10-a", "{}").expect("starts"), with("20-b", "{}").expect("starts"), with("10-a", "[]").expect("starts"));
    assert_eq!(one.digest(), same.digest());
    assert_ne!(one.digest(), other.digest());
    assert_eq!(one.module().as_ref(), format!("10-a@{}", &one.digest()[..12]));
}

#[test]
fn compiled_code_is_found_again_by_another_engine() {
    let folder = Folder::new();
    let settings = || EngineSettings { cache_dir: Some(folder.path().join("code")), ..EngineSettings::default() };
    let mut written = Vec::new();
    for _ in 0..2 {
        let engine = Engine::new(settings()).expect("an engine");
        assert!(engine.load(&guest(), Role::Company, &Limits::default()).is_ok());
        let kept = std::fs::read_dir(folder.path().join("code")).expect("reads");
        let mut kept: Vec<_> =
            kept.map(|entry| entry.and_then(|e| Ok((e.file_name(), e.metadata()?.ino()))).expect("reads")).collect();
        kept.sort();
        assert_eq!(kept.len(), 3, "the key, the code and its seal");
        written.push(kept);
    }
    assert_eq!(written[0], written[1], "nothing is written again");
}

#[test]
fn parts_go_to_threads_as_they_should() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Engine>();
    shared::<crate::Chain>();
    moved::<crate::Worker>();
    moved::<crate::ChainState>();
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(String, Option<String>, LogLine)>>);

impl LogSink for Recorder {
    fn line(&self, module: &str, company: Option<&str>, line: &LogLine) {
        let company = company.map(str::to_owned);
        self.0.lock().expect("not poisoned").push((module.into(), company, line.clone()));
    }
}

#[test]
fn a_line_of_a_call_that_is_repeated_comes_once() {
    let recorder = Arc::new(Recorder::default());
    let engine = Engine::new(EngineSettings { log_sink: Some(recorder.clone()), ..EngineSettings::default() })
        .expect("an engine");
    let code = engine.load(&guest(), Role::Company, &Limits::default()).expect("loads");
    let filter =
        Arc::new(Filter::new(&engine, "10-a", code, "{}", Limits::default(), OnError::DeadLetter).expect("starts"));
    let chain = chain(vec![filter]);
    let mut worker = crate::Worker::new(engine, crate::InstancePool::new(crate::PoolSettings::default()));
    let inputs = inputs(["pass", "trap", "pass", "pass"]);
    worker
        .run_company(&chain, &company(), &inputs, &mut crate::ChainState::new(), crate::Budget::default())
        .expect("runs");
    let lines = recorder.0.lock().expect("not poisoned");
    let [(module, company, line)] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(module.starts_with("10-a@") && company.as_deref() == Some("acme"));
    assert_eq!(*line, LogLine { level: LogLevel::Error, message: "panicked at here".into() });
}

/// Built once with the SDK of world 1.0.0 from the source beside it, and never again.
const OF_WORLD_1: &[u8] = include_bytes!("../../../../tests/worlds/v1/conformance.wasm");

#[test]
fn a_filter_of_the_world_before_runs_beside_one_of_the_present() {
    let before = ENGINE.load(OF_WORLD_1, Role::Company, &Limits::default()).expect("loads");
    assert_eq!((before.world(), before.description().name.as_str()), (World::V1, "conformance"));
    assert!(before.config_schema().is_none() && before.imports_state());
    let present = ENGINE.load(&guest(), Role::Company, &Limits::default()).expect("loads");
    assert_eq!(present.world(), World::V2);
    let filter = |name: &str, code: &Arc<crate::Code>| {
        Arc::new(
            Filter::new(&ENGINE, name, code.clone(), "{}", Limits::default(), OnError::DeadLetter).expect("starts"),
        )
    };
    let both = chain(vec![filter("10-present", &present), filter("20-before", &before)]);
    let inputs = inputs(["pass", "pass"]);
    let run = worker()
        .run_company(&both, &company(), &inputs, &mut crate::ChainState::new(), crate::Budget::default())
        .expect("runs");
    assert_eq!(run.verdicts.len(), 2);
}

#[test]
fn a_configuration_is_held_against_the_schema_that_the_filter_brings() {
    let schema = r#"{"type":"object","properties":{"most":{"type":"integer"}}}"#;
    let data = format!(r#"(data (i32.const 65536) "{}")"#, schema.replace('"', "\\22"));
    let stores = format!(
        "(i32.store (i32.const 1060) (i32.const 65536)) (i32.store (i32.const 1064) (i32.const {}))",
        schema.len()
    );
    let code = changed_guests(&[
        (r#"(data (i32.const 208) "hello")"#, &format!(r#"(data (i32.const 208) "hello") {data}"#)),
        ("(i32.store (i32.const 1060) (i32.const 0)) (i32.store (i32.const 1064) (i32.const 0))", &stores),
    ]);
    let code = ENGINE.load(&code, Role::Company, &Limits::default()).expect("loads");
    assert_eq!(code.config_schema().expect("one")["properties"]["most"]["type"], "integer");
    let with = |json: &str| Filter::new(&ENGINE, "10-a", code.clone(), json, Limits::default(), OnError::DeadLetter);
    assert!(with(r#"{"most":3}"#).is_ok());
    let told = with(r#"{"most":"3"}"#).expect_err("refused");
    assert_eq!(told, LoadError::Refused("configuration: `/most`: want integer, but got string \"3\"".into()));
}
