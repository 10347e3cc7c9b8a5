//! The quick rows of the fault table, each a test of its own name. `cargo xtask faults` runs all of them.

use tidegate_tests::faults::row;

macro_rules! rows {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let row = row(stringify!($name)).expect("a row of this name");
                let outcome = row.play().await;
                match &outcome.verdict {
                    Ok(verdict) => assert!(outcome.holds(), "{verdict}"),
                    Err(error) => panic!("{error:#}"),
                }
            }
        )+
    };
}

rows![a_redis_that_restarts_loses_nothing];
