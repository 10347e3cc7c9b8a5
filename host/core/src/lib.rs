//! The decisions of Tidegate, as functions of (state, input, now).
//!
//! Nothing here waits, reads a clock, touches a file or a socket: time and randomness are arguments, effects are
//! returned as values. That is what lets a seeded simulation drive exactly this code.
#![forbid(unsafe_code)]

pub mod backlog;
pub mod batch_size;
pub mod budget;
pub mod commit;
pub mod cursor;
pub mod entry;
pub mod event;
pub mod explain;
pub mod fanout;
pub mod frame;
pub mod gap;
pub mod generation;
pub mod idle;
pub mod lag;
pub mod lease;
pub mod limits;
pub mod named;
pub mod numbering;
pub mod owner;
pub mod page;
pub mod pages;
pub mod piece;
pub mod position;
pub mod rebuild;
pub mod record;
pub mod retention;
pub mod retry;
pub mod ring;
pub mod seam;
pub mod sent;
pub mod share;
mod sheet;
pub mod swap;
pub mod turns;
pub mod uncommitted;
pub mod window;
