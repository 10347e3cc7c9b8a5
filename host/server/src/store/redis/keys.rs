//! The names of all keys of a partition.

use tidegate_core::event::Company;

/// The keys of one partition; its name is their hash tag, so that a cluster keeps them together.
#[derive(Debug)]
pub(super) struct Keys {
    /// Store id, last commit, checkpoint, floor, chains.
    pub(super) head: String,
    /// Who owns the partition.
    pub(super) lease: String,
    /// The lives of the stream.
    pub(super) generations: String,
    /// Dead letters to publish.
    pub(super) outbox: String,
    /// The catalogue of companies.
    pub(super) companies: String,
    /// The index of times.
    pub(super) times: String,
    /// Each company with a backlog, and the event before the oldest that waits.
    pub(super) waiting: String,
    /// How many fields the state of each company with some has.
    pub(super) states: String,
    /// What each commit decided: an entry for each, whose id is the commit's number.
    pub(super) records: String,
    /// The channel on which hosts tell one another what was committed.
    pub(super) news: String,
    prefix: String,
}

impl Keys {
    pub(super) fn new(partition: &str) -> Self {
        let prefix = format!("tidegate:{{{partition}}}:");
        let key = |name: &str| format!("{prefix}{name}");
        Self {
            head: key("head"),
            lease: key("lease"),
            generations: key("generations"),
            outbox: key("outbox"),
            companies: key("companies"),
            times: key("times"),
            waiting: key("waiting"),
            states: key("states"),
            records: key("records"),
            news: key("news"),
            prefix,
        }
    }

    /// A company's replay stream: rows of entries, each at the position of its last one.
    pub(super) fn stream(&self, company: &Company) -> String {
        format!("{}s:{company}", self.prefix)
    }

    /// What is known of a company: `r` running number, `t` top, `tm` its time, `n` entries, `x` rows that hold them (one each in
    /// an older version's store, which does not say so), `y` bytes, `f` floor, `w` waiting inputs, `wy` their bytes, `wt` the
    /// newest of them, `wf` the event before the oldest, `wk` the running sum of their bytes.
    pub(super) fn company(&self, company: &Company) -> String {
        format!("{}c:{company}", self.prefix)
    }

    /// A company's backlog stream.
    pub(super) fn backlog(&self, company: &Company) -> String {
        format!("{}b:{company}", self.prefix)
    }

    /// State of a company's filters; field `filter NUL key`.
    pub(super) fn state(&self, company: &Company) -> String {
        format!("{}state:{company}", self.prefix)
    }

    /// A pattern of all keys.
    pub(super) fn all(&self) -> String {
        format!("{}*", self.prefix)
    }
}
