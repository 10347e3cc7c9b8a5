//! Every bound of the host that is not a setting, each with its reason. Settings live in the configuration.

/// Events that a batch waits for.
pub const BATCH_EVENTS: usize = 256;
/// Events in one batch where more wait already and the last batches were quickly through: three quarters of what one commit
/// aims at, so that a batch with more outputs than the one before still fits.
pub const BATCH_EVENTS_LOADED: usize = COMMIT_OUTPUTS / 4 * 3;
/// Longest that the chains of such a batch may take, in milliseconds, with all that they wait for: far below
/// [`BATCH_BUDGET_MS`], so that a company that is in time for its part of a usual batch is in time for that of a large one.
pub const BATCH_QUICK_MS: u64 = 5;
/// Events that a batch waits for where no commit is in flight: each bears a small part of what a batch costs by itself.
pub const BATCH_EVENTS_IDLE: usize = 16;
/// How long a batch waits to fill, in milliseconds: below what a person or a browser notices.
pub const BATCH_WAIT_MS: u64 = 1;
/// Input bytes of one batch (or one event, if that alone is bigger): bounds memory and the commit.
pub const BATCH_BYTES: usize = 1 << 20;
/// Items that wait between a source's reader and the intake: two of the largest batches read ahead.
pub const FEED_ITEMS: usize = BATCH_EVENTS_LOADED * 2;
/// Bytes that wait there: large events must not take a thousand times their size.
pub const FEED_BYTES: usize = 32 << 20;
/// How long the companies' chains may take for a batch, in milliseconds; who is not through goes to the backlog.
pub const BATCH_BUDGET_MS: u64 = 20;
/// A company whose events take longer than this each is slow, in microseconds: it runs after the others, within its share.
pub const SLOW_MICROS: u64 = 500;
/// What a slow company may take of the batches in each second, in microseconds: the others' 99th percentile is theirs.
pub const SHARE_MICROS: i64 = 4_000;
/// What it may have saved of that, in microseconds: one batch's time.
pub const SHARE_SAVED_MICROS: i64 = 20_000;
/// Outputs one commit aims at: a script of this size keeps Redis busy for about 2 ms.
pub const COMMIT_OUTPUTS: usize = 1_000;
/// Output bytes one commit aims at.
pub const COMMIT_BYTES: usize = 1 << 20;
/// Bytes of inputs that the events of one commit may become. All of them may have to wait, each with its whole event: a
/// commit of this size keeps Redis busy for about 20 ms.
pub const COMMIT_INPUT_BYTES: usize = 8 << 20;
/// Bytes of inputs that one event may become: far below what Redis takes in one call (512 MiB).
pub const FANOUT_BYTES: usize = 128 << 20;
/// Commits on their way at a time: enough to hide a round trip, few enough to repeat after a refusal.
pub const COMMITS_IN_FLIGHT: usize = 4;
/// Announcements of other hosts that wait to be taken into the live window; one that finds no room is a hole, which is
/// read from the store. At most about as many mebibytes as commits of full size.
pub const ANNOUNCEMENTS: usize = 64;
/// Pages that are read to fill a hole in one company's ring; a longer one empties the ring, so that each of its
/// connections reads on from where it stands.
pub const HOLE_PAGES: usize = 4;
/// Companies whose holes are filled at the same time.
pub const HOLES_AT_ONCE: usize = 16;
/// Entries in one page of replay: one script call of about 1 ms.
pub const PAGE_ENTRIES: usize = 256;
/// Pages of one company that are read at the same time, for whoever needs them.
pub const READS_AT_ONCE: usize = 4;
/// Bytes of encoded pages that are kept for a company's other connections: some thousand events.
pub const PAGES_BYTES: usize = 4 << 20;
/// How long they are kept, in milliseconds: clients that were cut together come back within a few seconds.
pub const PAGES_MS: u64 = 5_000;
/// The same for all companies together; a page that finds no room is shared only by those who waited for it.
pub const PAGES_BYTES_ALL: usize = 64 << 20;
/// How long frames may stand in front of a client before it counts as waited for, in milliseconds: far above what a busy
/// host needs to get to it.
pub const OFFER_MS: u64 = 5_000;
/// Inputs of one backlog step.
pub const STEP_INPUTS: usize = 64;
/// Input bytes of one backlog step.
pub const STEP_BYTES: usize = 1 << 20;
/// Bytes one connection takes from the ring in one piece: a socket's send buffer, roughly.
pub const WRITE_BYTES: usize = 64 << 10;
/// The longest id on the wire, in bytes.
pub const ID_BYTES: usize = 128;
/// The longest subject part of an id, in bytes.
pub const ID_SUBJECT_BYTES: usize = 64;
/// Dead letters that wait to be published; the oldest goes first beyond that.
pub const OUTBOX_ENTRIES: usize = 10_000;
/// Bytes of dead letters that wait to be published: an outage of NATS must not fill the replay cache. The newest letter
/// stays, whatever it weighs.
pub const OUTBOX_BYTES: usize = 64 << 20;
/// Records of commits that are kept for `explain`: hours of a host that commits a hundred times a second.
pub const RECORDS: u64 = 500_000;
/// Their bytes: a few for each event of a full batch, some eighty for a commit of one event.
pub const RECORD_BYTES: u64 = 32 << 20;
/// Records that one commit removes at most where there are too many: many small ones may have to go for a large one.
pub const RECORDS_REMOVED: usize = 64;
/// Bytes of a filter's reason or of a dead letter's story that a record keeps.
pub const RECORD_TEXT_BYTES: usize = 256;
/// Records that are searched for the step that took an event out of its company's backlog.
pub const RECORDS_SEARCHED: usize = 200_000;
/// Stretches of a company's stream that are remembered of a connection; a new one begins with a gap.
pub const SENT_RANGES: usize = 4;
/// Connections that have ended and are remembered, over all companies.
pub const ENDED_CONNECTIONS: usize = 1_000;
/// Connections that one answer of `explain` lists.
pub const EXPLAINED_CONNECTIONS: usize = 100;
/// Generations of the stream that are remembered.
pub const GENERATIONS: usize = 64;
/// How far a cursor's time may lie from what the index of times says, in milliseconds: the index is kept by minute, and
/// a stream's timestamps can step back.
pub const TIME_SLACK_MS: u64 = 60_000;

const _: () = {
    assert!(BATCH_EVENTS <= COMMIT_OUTPUTS, "a batch of events with one output each fits one commit");
    assert!(STEP_INPUTS <= BATCH_EVENTS);
    assert!(COMMIT_INPUT_BYTES <= FANOUT_BYTES && BATCH_BYTES <= COMMIT_INPUT_BYTES);
    assert!(ID_SUBJECT_BYTES + 1 + 20 + 1 + 20 + 1 + 10 <= ID_BYTES, "any id fits");
};
