//! The promises end to end, each against real servers and again on the embedded parts. One file for each behaviour.
#![forbid(unsafe_code)]

/// Runs a promise, a function of `&mut World`, on each of some backends.
macro_rules! on_each {
    ($test:ident: $($backend:ident),+) => {
        mod $test {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $backend() {
                    let mut world = crate::world(stringify!($backend)).await;
                    if let Err(error) = super::$test(&mut world).await {
                        // With the world still there: what its servers printed is shown as they are dropped.
                        panic!("{error:#}");
                    }
                }
            )+
        }
    };
}

mod access;
mod admin;
mod authors;
mod backlog;
mod bench;
mod capture;
mod clients;
mod configuration;
mod cors;
mod crash;
mod cursors;
mod dead_letters;
mod deploy;
mod dev;
mod dlq;
mod docs;
mod drain;
mod error_budget;
mod explain;
mod failing_filters;
mod faults;
mod hostile;
mod hosts;
mod ingest;
mod isolation;
mod k6_script;
mod languages;
mod live;
mod manual;
mod mistakes;
mod modules;
mod rebuild;
mod refusals;
mod refused;
mod replay;
mod seam;
mod servers_away;
mod shadow;
mod shapes;
mod slow_client;
mod soak;
mod swap;

use tidegate_tests::backend::{Backend, World};

/// The subject of most events here.
const SUBJECT: &str = "metrics.calculated";

/// The servers of a backend, by its name; the host isn't started yet.
async fn world(backend: &str) -> World {
    let backend = match backend {
        "embedded" => Backend::Embedded,
        "jetstream" => Backend::JetStream,
        "old_jetstream" => Backend::OldJetStream,
        "core" => Backend::Core,
        other => panic!("no backend {other}"),
    };
    World::prepare(backend).await.expect("servers")
}
