//! The soak, cut short: faults one after the other on several hosts, and every client judged.

use std::time::Duration;

use tidegate_tests::soak::{Soak, run};

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_all_kinds_one_after_the_other_lose_and_double_nothing() {
    let soak = Soak { time: Duration::from_secs(20), seed: 7, rate: 200, logs: None };
    let report = run(&soak, |_| {}).await.expect("the soak begins");
    assert!(report.holds() && report.strikes() > 0, "{report}");
}
