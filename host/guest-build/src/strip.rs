//! Modules without names, line tables and what compilers say of themselves.

use anyhow::{Context, Result, bail};

/// What stays in a stripped module besides what runs and describes its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing: a filter that never traps needs nothing.
    Nothing,
    /// The names of functions: a backtrace tells them.
    Names,
    /// Names and line tables: a backtrace is told in source lines.
    Lines,
}

/// Drops custom sections that change nothing of what the module does.
///
/// # Errors
/// It is cut off, or no module.
pub fn strip(module: &[u8], keep: Keep) -> Result<Vec<u8>> {
    const HEADER: usize = 8;
    const CUSTOM: u8 = 0;
    let mut kept = module.get(..HEADER).context("not a WebAssembly module")?.to_vec();
    let mut rest = &module[HEADER..];
    while let [id, body @ ..] = rest {
        let (size, body) = leb128(body)?;
        let (section, after) = body.split_at_checked(size).context("a section is cut off")?;
        let dropped = *id == CUSTOM && {
            let (length, name) = leb128(section)?;
            let name = name.get(..length).context("a section's name is cut off")?;
            name == b"producers"
                || (name == b"name" && keep == Keep::Nothing)
                || (name.starts_with(b".debug_") && keep != Keep::Lines)
        };
        if !dropped {
            kept.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    Ok(kept)
}

fn leb128(mut bytes: &[u8]) -> Result<(usize, &[u8])> {
    let mut value = 0usize;
    for shift in (0..32).step_by(7) {
        let (byte, rest) = bytes.split_first().context("a number is cut off")?;
        value |= usize::from(byte & 0x7f) << shift;
        bytes = rest;
        if byte & 0x80 == 0 {
            return Ok((value, bytes));
        }
    }
    bail!("a number is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, body: &[u8]) -> Vec<u8> {
        let mut section = vec![
            0,
            u8::try_from(1 + name.len() + body.len()).expect("short"),
            u8::try_from(name.len()).expect("short"),
        ];
        section.extend_from_slice(name.as_bytes());
        section.extend_from_slice(body);
        section
    }

    #[test]
    fn stripping_drops_what_is_not_kept_and_never_the_world() {
        let header = b"\0asm\x01\0\0\0".to_vec();
        let world = section("component-type:x", b"w");
        let code = vec![10, 1, 0];
        let (names, lines) = (section("name", b"n"), section(".debug_line", b"d"));
        let module =
            [header.clone(), names.clone(), world.clone(), section("producers", b"p"), code.clone(), lines.clone()]
                .concat();
        let stripped = |keep| strip(&module, keep).expect("a module");
        assert_eq!(stripped(Keep::Nothing), [header.clone(), world.clone(), code.clone()].concat());
        assert_eq!(stripped(Keep::Names), [header.clone(), names.clone(), world.clone(), code.clone()].concat());
        assert_eq!(stripped(Keep::Lines), [header, names, world, code, lines].concat());
    }

    #[test]
    fn a_cut_off_module_is_an_error() {
        assert!(strip(b"\0asm\x01\0\0\0\x01\x05ab", Keep::Nothing).is_err());
        assert!(strip(b"\0as", Keep::Nothing).is_err());
    }
}
