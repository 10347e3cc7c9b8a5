//! Guests that mean harm, and what has to become of each. The parts that run them are judged by all of them: the engine in
//! `host/filter/src/tests/hostile.rs`, command line and folder in `host/server/src/cli/tests/hostile.rs`, a whole host in
//! `tests/e2e/hostile.rs`.
//!
//! A case is a row in the file of its kind. A guest behaves like any other filter until an event commands it to
//! [`STRIKE`].
#![forbid(unsafe_code)]

mod calls;
mod features;
mod files;
pub mod fuzz;
mod guest;
mod host_calls;
mod parrot;
mod results;
mod starts;
mod texts;

pub use guest::with_world;
pub use parrot::parrot;

/// The world that filters are built for.
pub const WORLD: &str = include_str!("../../../guest-sdk/wit/v2/filter.wit");

/// The command (the eighth byte of a payload, as in `{"do":"!"}`) at which a guest does its harm; others pass.
pub const STRIKE: char = '!';

/// One guest.
pub struct Case {
    /// What it does.
    pub name: &'static str,
    /// Whether it is to stand in the platform chain.
    pub platform: bool,
    /// What stands in the settings beside it.
    pub settings: &'static str,
    /// What has to become of it.
    pub fate: Fate,
    body: Body,
}

/// What has to become of a guest, or of an event it strikes at. The words are some of those that have to be told.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// It is not taken: kind and words.
    Refused(&'static str, &'static [&'static str]),
    /// The event it strikes at is a dead letter, and no other: kind and words.
    Dead(&'static str, &'static [&'static str]),
    /// No event gets through it, each is a dead letter: kind and words.
    AllDead(&'static str, &'static [&'static str]),
    /// It is held within its bounds: every event passes, or is dropped for the reasons of the filter.
    Held,
}

/// How a guest is made.
enum Body {
    /// The guest of `guest.wat` with these texts in its slots.
    Slots(&'static [(&'static str, &'static str)]),
    /// In another way.
    Made(fn() -> Vec<u8>),
}

impl Case {
    /// The bytes of its file.
    #[must_use]
    pub fn module(&self) -> Vec<u8> {
        match &self.body {
            Body::Slots(slots) => guest::guest(slots, self.platform),
            Body::Made(make) => make(),
        }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("fate", &self.fate).finish_non_exhaustive()
    }
}

/// All of them.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        files::cases(),
        features::cases(),
        starts::cases(),
        calls::cases(),
        results::cases(),
        texts::cases(),
        host_calls::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Those that take long to compile.
#[must_use]
pub fn slow_cases() -> Vec<Case> {
    features::slow_cases()
}

/// A guest that means no harm: it passes everything.
#[must_use]
pub fn harmless() -> Vec<u8> {
    guest::guest(&[], false)
}

/// An event's payload with this command.
#[must_use]
pub fn commanded(command: char, company: &str, n: u64) -> String {
    format!(r#"{{"do":"{command}","companyId":"{company}","n":{n}}}"#)
}

/// A row: at an event it strikes at, a company's filter does `act`.
fn at_event(name: &'static str, fate: Fate, act: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, platform: false, settings: "", fate, body: Body::Slots(act) }
}

/// A row: a file that is made by itself.
fn file(name: &'static str, fate: Fate, make: fn() -> Vec<u8>) -> Case {
    Case { name, platform: false, settings: "", fate, body: Body::Made(make) }
}

impl Case {
    fn with(self, settings: &'static str) -> Self {
        Self { settings, ..self }
    }

    fn on_platform(self) -> Self {
        Self { platform: true, ..self }
    }
}
