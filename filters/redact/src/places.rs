//! The configured pointers as a tree, so that one pass over a payload finds them all.

use tidegate_guest::json::Pointer;

/// What to look for below a value.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The value itself goes.
    here: bool,
    below: Vec<(String, Places)>,
}

impl Places {
    /// A tree of these pointers.
    pub(crate) fn new(pointers: &[Pointer]) -> Result<Self, String> {
        let mut root = Self::default();
        for pointer in pointers {
            if pointer.tokens().is_empty() {
                return Err("an empty pointer means the whole payload: drop the event instead".to_owned());
            }
            let mut place = &mut root;
            for token in pointer.tokens() {
                let known = place.below.iter().position(|(name, _)| name == token);
                let index = known.unwrap_or_else(|| {
                    place.below.push((token.clone(), Self::default()));
                    place.below.len() - 1
                });
                place = &mut place.below[index].1;
            }
            place.here = true;
        }
        Ok(root)
    }

    pub(crate) fn is_here(&self) -> bool {
        self.here
    }

    /// What to look for below this member.
    pub(crate) fn member(&self, key: &str) -> Option<&Self> {
        self.below.iter().find(|(name, _)| name == key).map(|(_, place)| place)
    }

    /// What to look for below this element: by its index, and below every element.
    pub(crate) fn element(&self, index: usize) -> impl Iterator<Item = &Self> {
        let mut digits = [0u8; 20];
        let length = {
            let mut rest = &mut digits[..];
            // Twenty digits hold every index.
            let _ = std::io::Write::write_fmt(&mut rest, format_args!("{index}"));
            20 - rest.len()
        };
        self.below
            .iter()
            .filter(move |(name, _)| name == "*" || name.as_bytes() == &digits[..length])
            .map(|(_, place)| place)
    }
}
