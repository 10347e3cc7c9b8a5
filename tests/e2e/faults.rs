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
    what_redis_evicts_is_told_with_a_gap,
    a_redis_that_becomes_a_read_only_replica_is_waited_for,
    a_commit_whose_answer_was_lost_is_not_made_twice,
    an_owner_that_sleeps_past_its_lease_commits_nothing_more,
    announcements_that_are_lost_are_made_up_for,
    a_rolling_restart_loses_nothing,
    a_flush_that_costs_filters_their_state_is_told_by_every_host,
    a_purge_while_the_host_is_down_is_a_gap,
    a_purge_to_the_last_event_while_the_host_is_down_is_a_gap,
    a_purge_of_what_was_read_takes_nothing_back,
    a_purge_that_passes_a_sleeping_host_is_a_gap,
    a_retention_that_passes_a_host_that_is_down_is_a_gap,
    messages_deleted_in_the_middle_are_counted_and_no_gap,
    a_stream_deleted_under_the_host_is_made_again_with_a_gap,
    a_shorter_stream_made_anew_is_a_new_generation,
    a_longer_stream_made_anew_is_a_new_generation,
    a_consumer_that_an_operator_deletes_loses_nothing,
    a_disconnect_from_core_nats_is_a_gap,
    what_came_over_core_nats_before_a_new_owner_listened_is_a_gap,
    an_odd_message_on_core_nats_is_at_most_a_gap,
    a_flood_that_a_slow_host_can_not_hold_is_counted_and_told,
    events_that_a_filter_fails_on_are_letters_and_the_rest_goes_on,
    a_slow_filter_delays_its_company_alone_and_loses_nothing,
    a_paused_company_is_worked_off_when_its_chain_changes,
    a_refused_module_changes_nothing,
    a_storm_of_replays_reads_each_page_once,
    a_storm_of_replays_reads_each_page_once_on_embedded_parts,
    clients_that_never_read_cost_no_memory_and_delay_nobody,
    clients_cut_at_random_bytes_lose_and_double_nothing,
    drop_oldest_drops_for_slow_clients_alone_and_counts,
    disconnect_ends_the_streams_of_slow_clients_alone,
    a_full_disk_refuses_ingest_and_takes_on_by_itself,
    files_that_may_not_grow_refuse_ingest_and_take_on_by_themselves,
    kills_while_events_are_taken_in_leave_each_request_whole_or_out,
    a_host_clock_that_jumps_under_load_changes_no_order_of_the_embedded_log,
    a_host_that_starts_an_hour_off_takes_its_cursors_as_they_are,
    numbers_on_core_nats_do_not_go_back_with_the_clock,
];
