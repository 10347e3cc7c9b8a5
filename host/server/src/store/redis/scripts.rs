//! The scripts, each in the form for Redis 7 and later and in the older one.

use redis::Script;

/// What a script may do when memory is full, and on a replica.
enum Flags {
    /// Refused before it starts when memory is full.
    Write,
    /// Runs even then, since it frees memory or needs next to none.
    Always,
    /// Writes nothing.
    Read,
}

/// One form of a script.
pub(super) struct Form {
    /// Its text.
    pub(super) text: String,
    /// The name under which a server that has seen it knows it.
    pub(super) hash: String,
}

/// One script in both forms.
pub(super) struct Pair {
    /// With the first line that names its flags (Redis 7).
    pub(super) flagged: Form,
    /// Without it.
    pub(super) plain: Form,
}

fn form(text: String) -> Form {
    let hash = Script::new(&text).get_hash().to_owned();
    Form { text, hash }
}

fn pair(flags: &Flags, body: &str) -> Pair {
    let line = match flags {
        Flags::Write => "#!lua",
        Flags::Always => "#!lua flags=allow-oom",
        Flags::Read => "#!lua flags=no-writes",
    };
    Pair { flagged: form(format!("{line}\n{body}")), plain: form(body.to_owned()) }
}

/// All scripts.
pub(super) struct Scripts {
    pub(super) commit: Pair,
    pub(super) init: Pair,
    pub(super) head: Pair,
    pub(super) lease: Pair,
    pub(super) page: Pair,
    pub(super) entry: Pair,
    pub(super) waiting: Pair,
    pub(super) companies: Pair,
    pub(super) marks: Pair,
    pub(super) trim: Pair,
    pub(super) letters: Pair,
    pub(super) record: Pair,
    pub(super) mend: Pair,
    pub(super) lost: Pair,
    pub(super) forget: Pair,
    pub(super) state: Pair,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let read = include_str!("lua/read.lua");
        let evicted = include_str!("lua/evicted.lua");
        let with_read = |body: &str| format!("{read}\n{body}");
        let missing = include_str!("lua/missing.lua");
        let with_evicted = |body: &str| format!("{evicted}\n{body}");
        let with_missing = |body: &str| format!("{missing}\n{body}");
        Self {
            commit: pair(&Flags::Write, &with_missing(&with_evicted(include_str!("lua/commit.lua")))),
            init: pair(&Flags::Always, include_str!("lua/init.lua")),
            head: pair(&Flags::Read, &with_missing(include_str!("lua/head.lua"))),
            lease: pair(&Flags::Always, include_str!("lua/lease.lua")),
            page: pair(&Flags::Read, &with_read(&with_evicted(include_str!("lua/page.lua")))),
            entry: pair(&Flags::Read, include_str!("lua/entry.lua")),
            waiting: pair(&Flags::Read, &with_read(include_str!("lua/waiting.lua"))),
            companies: pair(&Flags::Read, include_str!("lua/companies.lua")),
            marks: pair(&Flags::Read, include_str!("lua/marks.lua")),
            trim: pair(&Flags::Always, &with_read(include_str!("lua/trim.lua"))),
            letters: pair(&Flags::Always, include_str!("lua/letters.lua")),
            record: pair(&Flags::Read, include_str!("lua/record.lua")),
            mend: pair(&Flags::Always, &with_missing(&with_evicted(include_str!("lua/mend.lua")))),
            lost: pair(&Flags::Always, &with_missing(include_str!("lua/lost.lua"))),
            forget: pair(&Flags::Always, include_str!("lua/forget.lua")),
            state: pair(&Flags::Read, &with_missing(include_str!("lua/state.lua"))),
        }
    }
}
