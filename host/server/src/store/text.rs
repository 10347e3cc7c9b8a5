//! Small values as both stores write them: places, floors, generations, chains, as one line of text each.
//!
//! Positions are written in fixed width, so that comparing the texts compares the positions: a script of Redis has only
//! floating-point numbers, which lose them.

use super::StoreError;
use std::sync::Arc;
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::generation::Generation;
use tidegate_core::position::{CommitName, Place, Position, SEQUENCE_MAX, StoreId, Token};
use tidegate_core::rebuild::Rebuild;

/// Folder and digest of each chain.
pub(super) type Chains = Vec<(Arc<str>, Arc<str>)>;

fn bad(what: &str, text: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} {text:?}"))
}

/// A position, 31 bytes wide. Redis takes it as an entry id, zeros and all.
pub(super) fn position(position: Position) -> String {
    format!("{:020}-{:010}", position.packed(), position.output)
}

/// The reverse of [`position`]; reads Redis's own spelling without zeros, too.
pub(super) fn parse_position(text: &str) -> Result<Position, StoreError> {
    let halves = text.split_once('-').and_then(|(event, output)| Some((event.parse().ok()?, output.parse().ok()?)));
    halves.map(|(event, output)| Position::unpack(event, output)).ok_or_else(|| bad("the position", text))
}

/// The lowest id above everything up to this position: what a stream is trimmed to.
pub(super) fn above(position: Position) -> String {
    format!("{:020}-{}", position.packed(), u64::from(position.output) + 1)
}

/// Generation and sequence in fixed width.
pub(super) fn mark(generation: u16, sequence: u64) -> String {
    format!("{generation:05}{:015}", sequence & SEQUENCE_MAX)
}

/// The reverse of [`mark`].
pub(super) fn parse_mark(text: &str) -> Result<(u16, u64), StoreError> {
    let parts = text.split_at_checked(5).and_then(|(g, s)| Some((g.parse().ok()?, s.parse().ok()?)));
    parts.ok_or_else(|| bad("the time mark", text))
}

/// A place.
pub(super) fn place(place: Place) -> String {
    format!("{} {} {}", place.generation, place.sequence, place.time_ms)
}

/// The reverse of [`place`]; nothing for an empty text.
pub(super) fn parse_place(text: &str) -> Result<Option<Place>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut fields = text.split(' ');
    let read = (|| {
        let generation = fields.next()?.parse().ok()?;
        let sequence = fields.next()?.parse().ok()?;
        let time_ms = fields.next()?.parse().ok()?;
        Some(Place { generation, sequence, time_ms })
    })();
    read.map(Some).ok_or_else(|| bad("the place", text))
}

/// A floor: position first, so that comparing the beginnings compares the floors.
pub(super) fn floor(floor: &Floor) -> String {
    let running = floor.running.map_or_else(|| "-".to_owned(), |running| running.to_string());
    format!("{} {} {} {running}", position(floor.position), floor.time_ms, floor.reason.as_str())
}

/// The reverse of [`floor`]; nothing for an empty text.
pub(super) fn parse_floor(text: &str) -> Result<Option<Floor>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut fields = text.split(' ');
    let read = (|| {
        let position = parse_position(fields.next()?).ok()?;
        let time_ms = fields.next()?.parse().ok()?;
        let reason = GapReason::parse(fields.next()?)?;
        let running = match fields.next()? {
            "-" => None,
            number => Some(number.parse().ok()?),
        };
        Some(Floor { position, time_ms, reason, running })
    })();
    read.map(Some).ok_or_else(|| bad("the floor", text))
}

/// A generation, without its number.
pub(super) fn generation(row: &Generation) -> String {
    let Generation { created_ms, first_sequence, first_ms, last_sequence, last_ms, .. } = row;
    format!("{created_ms} {first_sequence} {first_ms} {last_sequence} {last_ms}")
}

/// The reverse of [`generation`].
pub(super) fn parse_generation(number: &str, text: &str) -> Result<Generation, StoreError> {
    let mut fields = text.split(' ').map(str::parse);
    let mut next = || fields.next()?.ok();
    let read = (|| {
        Some(Generation {
            number: number.parse().ok()?,
            created_ms: next()?,
            first_sequence: next()?,
            first_ms: next()?,
            last_sequence: next()?,
            last_ms: next()?,
        })
    })();
    read.ok_or_else(|| bad("the generation", text))
}

/// How a store's life began: when, and up to which place it is filled again.
pub(super) fn rebuild(rebuild: &Rebuild) -> String {
    format!("{} {}", rebuild.began_ms, place(rebuild.until))
}

/// The reverse of [`rebuild`]; nothing for an empty text.
pub(super) fn parse_rebuild(text: &str) -> Result<Option<Rebuild>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    let (began_ms, until) = text.split_once(' ').ok_or_else(|| bad("the rebuild", text))?;
    let began_ms = began_ms.parse().ok();
    let read = began_ms.zip(parse_place(until)?).map(|(began_ms, until)| Rebuild { until, began_ms });
    read.map(Some).ok_or_else(|| bad("the rebuild", text))
}

/// The chains, as JSON: folder names may hold anything.
pub(super) fn chains(chains: &Chains) -> String {
    let pairs: Vec<(&str, &str)> = chains.iter().map(|(folder, digest)| (&**folder, &**digest)).collect();
    serde_json::to_string(&pairs).unwrap_or_default()
}

/// The reverse of [`chains`]; none for an empty text.
pub(super) fn parse_chains(text: &str) -> Result<Chains, StoreError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let pairs: Vec<(String, String)> =
        serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("the chains: {error}")))?;
    Ok(pairs.into_iter().map(|(folder, digest)| (folder.into(), digest.into())).collect())
}

/// The name of a commit, from its two halves; that of an empty store where they are empty.
pub(super) fn parse_name(token: &str, number: &str) -> Result<CommitName, StoreError> {
    if token.is_empty() && number.is_empty() {
        return Ok(CommitName::default());
    }
    let token = Token::parse(token).ok_or_else(|| bad("the token", token))?;
    Ok(CommitName { token, number: number.parse().ok().ok_or_else(|| bad("the commit number", number))? })
}

/// A store's id.
pub(super) fn store_id(id: StoreId) -> String {
    format!("{:032x}", id.0)
}

/// The reverse of [`store_id`].
pub(super) fn parse_store_id(text: &str) -> Result<StoreId, StoreError> {
    u128::from_str_radix(text, 16).map(StoreId).map_err(|error| StoreError::Corrupt(format!("the store id: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_positions_sort_as_positions_do() {
        let mut places =
            [Position::whole(1, SEQUENCE_MAX), Position::new(2, 0, 9), Position::new(2, 0, 10), Position::new(9, 1, 1)];
        let mut texts: Vec<String> = places.iter().map(|p| position(*p)).collect();
        places.sort();
        texts.sort();
        let read: Vec<Position> = texts.iter().map(|text| parse_position(text).unwrap()).collect();
        assert_eq!(read, places);
        assert!(mark(9, 5) < mark(10, 0) && mark(1, 9) < mark(1, SEQUENCE_MAX));
    }

    #[test]
    fn what_was_written_is_read_again() {
        let at = Place { generation: 2, sequence: 77, time_ms: 1_699_999_999_999 };
        assert_eq!(parse_place(&place(at)).unwrap(), Some(at));
        for running in [None, Some(3)] {
            let low = Floor { position: Position::new(1, 2, 3), time_ms: 4, reason: GapReason::Trimmed, running };
            assert_eq!(parse_floor(&floor(&low)).unwrap(), Some(low));
        }
        let row = Generation { first_sequence: 1, last_ms: 9, ..Generation::new(3, 5) };
        assert_eq!(parse_generation("3", &generation(&row)).unwrap(), row);
        let named: Chains = vec![("_platform \"x\"\n".into(), "abc".into())];
        assert_eq!(parse_chains(&chains(&named)).unwrap(), named);
        assert_eq!(parse_mark(&mark(3, 12)).unwrap(), (3, 12));
    }

    #[test]
    fn foreign_text_is_an_error_and_no_panic() {
        assert!(parse_place("1 2").is_err());
        assert!(parse_floor("x").is_err());
        assert!(parse_generation("1", "1 2 3 4").is_err());
        assert!(parse_mark("123").is_err());
        assert!(parse_position("7").is_err());
        assert!(parse_name("abc", "1").is_err());
    }
}
