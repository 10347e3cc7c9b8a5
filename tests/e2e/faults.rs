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

rows![
    a_redis_that_restarts_loses_nothing,
    a_flushed_redis_is_filled_again_and_nobody_misses_anything,
    a_flushed_redis_costs_filters_their_state_and_each_client_is_told,
    a_redis_without_memory_refuses_whole_commits_and_goes_on_when_there_is_some,
    a_redis_that_may_evict_is_told_of,
    a_redis_that_becomes_a_read_only_replica_is_waited_for,
    a_commit_whose_answer_was_lost_is_not_made_twice,
    an_owner_that_sleeps_past_its_lease_commits_nothing_more,
    announcements_that_are_lost_are_made_up_for,
    a_rolling_restart_loses_nothing,
];
