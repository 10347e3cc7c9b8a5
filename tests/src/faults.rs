//! The fault table: what may go wrong, brought about on real servers, with a history check over every connection.
//!
//! `cargo xtask faults` runs every row and prints the table; the quick ones are end-to-end tests of their own names, too.

use std::time::Instant;

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use crate::verdict::Verdict;

mod clock;
mod core_nats;
mod embedded;
mod eviction;
mod filters;
mod flow;
mod hosts;
mod nats;
mod pieces;
mod redis;
mod streams;

/// One row.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its promise, as a test's name.
    pub name: &'static str,
    /// Brings the fault about and judges what every connection saw.
    pub run: fn() -> BoxFuture<'static, Result<Verdict>>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Rows from functions of their names.
macro_rules! rows {
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$(Row { name: stringify!($name), run: || $module::$name().boxed() }),*]
    };
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = rows![
    redis::a_redis_that_restarts_loses_nothing,
    hosts::an_owner_that_is_killed_is_replaced_and_nothing_is_lost,
    hosts::an_owner_that_sleeps_past_its_lease_commits_nothing_more,
    hosts::an_owner_cut_off_from_redis_is_replaced_and_stands_by,
    hosts::announcements_that_are_lost_are_made_up_for,
    hosts::a_rolling_restart_loses_nothing,
    hosts::a_flush_that_costs_filters_their_state_is_told_by_every_host,
    redis::a_redis_killed_again_and_again_under_load_loses_nothing,
    redis::a_flushed_redis_is_filled_again_and_nobody_misses_anything,
    redis::a_flushed_redis_costs_filters_their_state_and_each_client_is_told,
    redis::a_flushed_redis_without_a_stream_behind_it_is_told_as_a_loss,
    redis::a_redis_that_restarts_empty_is_filled_again,
    redis::a_redis_without_memory_refuses_whole_commits_and_goes_on_when_there_is_some,
    redis::a_redis_that_may_evict_is_told_of,
    eviction::what_redis_evicts_is_told_with_a_gap,
    redis::a_redis_that_becomes_a_read_only_replica_is_waited_for,
    redis::a_failover_that_lost_writes_is_found_out_and_filled_in,
    redis::a_slow_redis_delays_and_ends_nothing,
    redis::a_commit_whose_answer_was_lost_is_not_made_twice,
    redis::a_redis_that_freezes_delays_and_doubles_nothing,
    nats::a_purge_while_the_host_is_down_is_a_gap,
    nats::a_purge_while_the_host_is_down_is_a_gap_on_an_old_server,
    nats::a_purge_to_the_last_event_while_the_host_is_down_is_a_gap,
    nats::a_purge_of_what_was_read_takes_nothing_back,
    nats::a_purge_that_passes_a_sleeping_host_is_a_gap,
    nats::a_purge_to_the_end_that_passes_a_sleeping_host_is_a_gap,
    nats::a_retention_that_passes_a_host_that_is_down_is_a_gap,
    nats::a_retention_right_behind_the_checkpoint_is_no_gap,
    nats::messages_deleted_in_the_middle_are_counted_and_no_gap,
    nats::a_stream_deleted_under_the_host_is_made_again_with_a_gap,
    nats::a_shorter_stream_made_anew_is_a_new_generation,
    nats::a_longer_stream_made_anew_is_a_new_generation,
    nats::a_longer_stream_made_anew_is_a_new_generation_on_an_old_server,
    nats::a_stream_made_anew_under_a_sleeping_host_is_a_new_generation,
    nats::a_consumer_that_an_operator_deletes_loses_nothing,
    nats::a_consumer_that_an_operator_deletes_loses_nothing_on_an_old_server,
    nats::a_nats_server_killed_under_load_loses_and_doubles_nothing,
    nats::a_nats_server_killed_under_load_loses_and_doubles_nothing_on_an_old_server,
    nats::a_cluster_that_loses_its_leader_under_load_loses_and_doubles_nothing,
    nats::odd_messages_are_dead_letters_wherever_they_stand,
    nats::odd_messages_are_dead_letters_wherever_they_stand_on_an_old_server,
    core_nats::a_disconnect_from_core_nats_is_a_gap,
    core_nats::what_came_over_core_nats_while_the_host_was_down_is_a_gap,
    core_nats::what_came_over_core_nats_before_a_new_owner_listened_is_a_gap,
    core_nats::an_odd_message_on_core_nats_is_at_most_a_gap,
    core_nats::odd_messages_in_a_flow_over_core_nats_take_nothing_silently,
    core_nats::a_flood_that_a_slow_host_can_not_hold_is_counted_and_told,
    embedded::a_full_disk_refuses_ingest_and_takes_on_by_itself,
    embedded::files_that_may_not_grow_refuse_ingest_and_take_on_by_themselves,
    embedded::kills_while_events_are_taken_in_leave_each_request_whole_or_out,
    streams::a_storm_of_replays_reads_each_page_once,
    streams::a_storm_of_replays_reads_each_page_once_on_embedded_parts,
    streams::clients_that_never_read_cost_no_memory_and_delay_nobody,
    streams::clients_that_never_read_cost_no_memory_and_delay_nobody_on_jetstream,
    streams::clients_cut_at_random_bytes_lose_and_double_nothing,
    streams::clients_cut_at_random_bytes_lose_and_double_nothing_on_jetstream,
    streams::drop_oldest_drops_for_slow_clients_alone_and_counts,
    streams::disconnect_ends_the_streams_of_slow_clients_alone,
    filters::events_that_a_filter_fails_on_are_letters_and_the_rest_goes_on,
    filters::a_slow_filter_delays_its_company_alone_and_loses_nothing,
    filters::a_paused_company_is_worked_off_when_its_chain_changes,
    filters::a_refused_module_changes_nothing,
    clock::a_host_clock_that_jumps_under_load_changes_no_order,
    clock::a_host_clock_that_jumps_under_load_changes_no_order_of_the_embedded_log,
    clock::a_host_that_starts_an_hour_off_takes_its_cursors_as_they_are,
    clock::a_host_that_starts_an_hour_off_takes_its_cursors_as_they_are_on_jetstream,
    clock::numbers_on_core_nats_do_not_go_back_with_the_clock,
    clock::nothing_is_trimmed_while_host_and_store_disagree_about_the_time,
];

/// The row of this name.
#[must_use]
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// What became of a row.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// What the checker says, or why the row could not be run to its end.
    pub verdict: Result<Verdict>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Outcome {
    /// Does every promise hold?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict.as_ref().is_ok_and(|verdict| verdict.is_clean() && verdict.connections > 0)
    }
}

impl Row {
    /// Runs it. A panic is its error.
    pub async fn play(&self) -> Outcome {
        let begun = Instant::now();
        let mut task = JoinSet::new();
        task.spawn((self.run)());
        let ended = task.join_next().await.context("the row never ran");
        let ran = ended.and_then(|ended| ended.context("the row panicked")?);
        Outcome { name: self.name, verdict: ran, seconds: begun.elapsed().as_secs_f64() }
    }
}
