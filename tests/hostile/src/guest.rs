//! The guest that most cases are made of: `guest.wat` with a case's own text in some of its slots.

const GUEST: &str = include_str!("guest.wat");

/// Makes a guest with these texts in the slots of these names; the others keep what is written there.
///
/// # Panics
/// A case names a slot that is not there, or isn't WebAssembly text: it is to be mended.
pub(crate) fn guest(slots: &[(&str, &str)], platform: bool) -> Vec<u8> {
    with_world(&text(slots, platform), super::WORLD)
}

/// Its text.
pub(crate) fn text(slots: &[(&str, &str)], platform: bool) -> String {
    let mut slots = slots.to_vec();
    if platform {
        // Somebody has to say whose event it is: company and type are `hostile`.
        slots.push(("pass", "(i32.const 0) (i32.const 7) (i32.const 0) (i32.const 7)"));
    }
    let mut text = String::new();
    let mut used = 0;
    let mut parts = GUEST.split("{{");
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (slot, rest) = part.split_once("}}").expect("a slot ends");
        let (name, default) = slot.split_once(':').expect("a slot has a name");
        let own = slots.iter().find(|(own, _)| *own == name);
        used += usize::from(own.is_some());
        text.push_str(own.map_or(default, |(_, text)| text));
        text.push_str(rest);
    }
    assert_eq!(used, slots.len(), "a slot that is not there: {slots:?}");
    if platform {
        text = text.lines().filter(|line| !line.ends_with(";;state")).collect::<Vec<_>>().join("\n");
    }
    text
}

/// A core module with the custom section of a world, as a compiler leaves it.
///
/// # Panics
/// One of the two is wrong: it is to be mended.
#[must_use]
pub fn with_world(wat: &str, world: &str) -> Vec<u8> {
    let mut bytes = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("filter.wit", world).expect("the world parses");
    let world = resolve.select_world(&[package], Some("filter")).expect("the world is there");
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, encoding, false).expect("embeds");
    bytes
}
