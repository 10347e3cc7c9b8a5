//! From the bytes of a file to a component: what a plain `cargo build` leaves is a core module, and is made one here.

use crate::error::LoadError;
use std::borrow::Cow;
use wasmparser::{Parser, Payload};

/// Name of the custom section in which a compiler leaves the world; some add a suffix.
const WORLD_SECTION: &str = "component-type";

/// The component in `bytes`: these themselves, or made from a core module that carries the world.
pub(crate) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    if Parser::is_component(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    if !Parser::is_core_wasm(bytes) {
        return Err(LoadError::Format(not_wasm(bytes)));
    }
    check_core(bytes)?;
    let world = |error: &dyn std::fmt::Display| {
        LoadError::World(format!("the module can't be made a component of tidegate:filter: {error}"))
    };
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(bytes).map_err(|error| world(&format_args!("{error:#}")))?;
    encoder.validate(true).encode().map(Cow::Owned).map_err(|error| world(&format_args!("{error:#}")))
}

fn not_wasm(bytes: &[u8]) -> String {
    match bytes {
        [] => "the file is empty: build it again (tidegate build), and put it in place by renaming it".into(),
        [b'(' | b';', ..] => {
            "the file is WebAssembly text; convert it to a binary first (wat2wasm, wasm-tools parse)".into()
        }
        [0x7f, b'E', b'L', b'F', ..] | [0xcf, 0xfa, 0xed, 0xfe, ..] | [b'M', b'Z', ..] => {
            "the file is a library or program of an operating system (ELF, Mach-O or PE), not WebAssembly: build for \
             wasm32-unknown-unknown (tidegate build does)"
                .into()
        }
        [0, b'a', b's', b'm', ..] => {
            "the file starts as WebAssembly, but its version is unknown, or it is cut off".into()
        }
        _ => "the file is no WebAssembly".into(),
    }
}

/// Names what the encoder would tell in the words of its own trade.
fn check_core(bytes: &[u8]) -> Result<(), LoadError> {
    let damaged = |error: wasmparser::BinaryReaderError| {
        LoadError::Format(format!("the module is damaged or half written: {error}"))
    };
    let mut has_world = false;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::CustomSection(section) => has_world |= section.name().starts_with(WORLD_SECTION),
            Payload::MemorySection(section) => {
                for memory in section {
                    if memory.map_err(damaged)?.shared {
                        return Err(LoadError::World(
                            "it shares its memory with threads, which a filter has not: build it without them (no \
                             `atomics` among the target's features, no `-pthread`)"
                                .into(),
                        ));
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(damaged)?;
                    if let Some(problem) = foreign(import.module, import.name) {
                        return Err(LoadError::World(problem));
                    }
                }
            }
            _ => {}
        }
    }
    if has_world {
        return Ok(());
    }
    Err(LoadError::World(
        "it is a core module without the filter's world (no `component-type` section): build it with the guest SDK and mark \
         its function with `#[filter]`, or with wit-bindgen for tidegate:filter"
            .into(),
    ))
}

fn foreign(module: &str, name: &str) -> Option<String> {
    match module {
        "wasi_snapshot_preview1" | "wasi_unstable" => Some(without_wasi(&format!("{module} {name}"))),
        "env" => Some(format!("it imports env `{name}`: a symbol that no library defined when it was linked")),
        _ if module.starts_with("__wbindgen") || module == "wbg" => Some(format!(
            "it imports {module} `{name}` of wasm-bindgen, which only JavaScript offers: build without the crates' `js` or `wasm-bindgen` features"
        )),
        _ => None,
    }
}

/// The way out for a file that wants an operating system.
pub(crate) fn without_wasi(import: &str) -> String {
    format!(
        "it imports {import}, but a filter has no WASI: no clock, randomness, files or network. In Rust build for \
         wasm32-unknown-unknown; in other languages switch WASI off (tidegate build does) and take the time from the event"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_webassembly_is_told_so() {
        let told = |bytes: &[u8]| component(bytes).expect_err("refused").to_string();
        assert!(told(b"").starts_with("the file is empty"));
        assert!(told(b"(module)").starts_with("the file is WebAssembly text; convert it to a binary first"));
        assert!(told(b"\x7fELF").contains("ELF") && told(b"\x7fELF").contains("wasm32-unknown-unknown"));
        assert_eq!(told(b"hello"), "the file is no WebAssembly");
        assert!(told(b"\0asm\x01").contains("cut off"));
        assert!(told(b"\0asm\x01\0\0\0\x01").contains("damaged"));
    }

    #[test]
    fn a_core_module_without_the_world_is_told_how_to_get_it() {
        let bytes = wat::parse_str("(module)").expect("parses");
        assert!(component(&bytes).expect_err("refused").to_string().contains("component-type"));
    }

    #[test]
    fn wasi_is_named_with_the_way_out() {
        let bytes =
            wat::parse_str(r#"(module (import "wasi_snapshot_preview1" "clock_time_get" (func)))"#).expect("parses");
        let told = component(&bytes).expect_err("refused").to_string();
        assert!(told.contains("clock_time_get") && told.contains("wasm32-unknown-unknown"), "{told}");
    }
}
