//! The parts of a JSON text that go.

use std::ops::Range;

use tidegate_guest::json::Items;

use crate::places::Places;

/// The parts that go, in order and apart from each other. With `keep_place` they are values that something else will
/// stand for; otherwise members and elements together with the comma that goes with them.
pub(crate) fn cuts(text: &str, places: &Places, keep_place: bool) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    collect(text, 0, &[places], keep_place, &mut cuts);
    cuts
}

/// `offset` is where `text` begins in the payload. Goes only as deep as the pointers do.
fn collect(text: &str, offset: usize, places: &[&Places], keep_place: bool, cuts: &mut Vec<Range<usize>>) {
    let mut items = Items::of(text).enumerate().peekable();
    // The end of the item before, and whether any item so far stays: then a comma stands before the next one that goes.
    let (mut before, mut one_stays) = (0, false);
    let mut below = Vec::new();
    while let Some((index, item)) = items.next() {
        below.clear();
        for place in places {
            match &item.key {
                Some(key) => below.extend(place.member(key)),
                None => below.extend(place.element(index)),
            }
        }
        let value = item.value.clone();
        if below.iter().any(|place| place.is_here()) {
            let cut = if keep_place {
                value.clone()
            } else if one_stays {
                before..value.end
            } else {
                item.start..items.peek().map_or(value.end, |(_, next)| next.start)
            };
            cuts.push(offset + cut.start..offset + cut.end);
        } else {
            one_stays = true;
            if !below.is_empty() {
                collect(&text[value.clone()], offset + value.start, &below, keep_place, cuts);
            }
        }
        before = value.end;
    }
}
