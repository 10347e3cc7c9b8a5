//! Filters run natively under `cargo test`: the same function, the same batches, with a recorder in the host's place.
//!
//! ```
//! use tidegate_guest::testing::{Emission, Outcome, Recorder, TestEvent};
//! use tidegate_guest::{filter, log, Event, Verdict};
//!
//! #[filter]
//! fn shout(event: &Event) -> Verdict {
//!     log::info("loud");
//!     Verdict::emit("shouted", &event.payload().to_ascii_uppercase())
//! }
//!
//! let mut recorder = Recorder::<shout>::new();
//! let outcome = recorder.run(&TestEvent::new("talk.hello", "hello"));
//! assert_eq!(outcome, Outcome::Emit(vec![Emission::new("shouted", "HELLO")]));
//! assert_eq!(recorder.logs()[0].message, "loud");
//! ```

mod bench;
mod case;
mod diff;
pub(crate) mod host;
mod recorder;

#[doc(hidden)]
pub use bench::bench;
pub use case::check_cases;
pub use recorder::{Emission, LogLine, Outcome, Recorder, TestEvent};
