//! The guests of `tests/hostile`: `check` and the host judge each in the same words.

use super::verdicts::Place;
use tidegate_hostile::{Fate, cases};

#[test]
fn check_and_the_host_say_the_same_of_every_hostile_guest() {
    let mut wrong = Vec::new();
    for case in cases() {
        let place = Place::new(if case.platform { "_platform" } else { "acme" });
        place.put("10-hostile.wasm", case.module());
        place.put("10-hostile.toml", case.settings);
        let (check, host) = (place.check("10-hostile.wasm"), place.host());
        let expected = matches!(case.fate, Fate::Refused(..));
        if check != host || check.is_some() != expected {
            wrong.push(format!("{}: check {check:?}, host {host:?}", case.name));
        }
        if let (Fate::Refused(_, words), Some(reason)) = (case.fate, &check)
            && let Some(missing) = words.iter().find(|word| !reason.contains(**word))
        {
            wrong.push(format!("{}: no {missing:?} in {reason}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
