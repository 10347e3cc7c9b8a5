//! The built-in platform filter: event type from the subject, company from the payload's `companyId`.
//!
//! It is what serves while `modules/_platform/` is empty. The payload passes unchanged.

mod company;

use company::Company;
use tidegate_guest::{Event, Verdict, filter};

/// Says of each event what type it has and whose it is.
#[filter(
    name = "platform",
    emits = ["sroi_updated", "metric_updated", "vis_updated", "journey_flag_updated"]
)]
pub fn platform(event: &Event) -> Verdict {
    let Some(event_type) = event_type(event.subject()) else {
        return Verdict::error("no event type");
    };
    match Company::of(event.payload()) {
        Company::Named(company) => Verdict::emit(event_type, event.payload()).to_companies([&*company]),
        Company::Missing => Verdict::error("no company"),
        Company::NotJson(problem) => Verdict::error(format_args!("not JSON: {problem}")),
    }
}

/// The first row that fits counts; a `*` stands for one character or more.
fn event_type(subject: &str) -> Option<&'static str> {
    let (group, rest) = subject.split_once('.')?;
    match group {
        _ if rest.is_empty() => None,
        "metrics" if rest.starts_with("sroi") => Some("sroi_updated"),
        "metrics" => Some("metric_updated"),
        "q2q" => Some("vis_updated"),
        "journey" => Some("journey_flag_updated"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_guest::testing::{Emission, Outcome, Recorder, TestEvent, check_cases};

    use super::*;

    #[test]
    fn recorded_cases_come_out_as_expected() {
        check_cases::<platform>("cases");
    }

    #[test]
    fn the_subject_decides_the_type() {
        for (subject, expected) in [
            ("metrics.sroi", Some("sroi_updated")),
            ("metrics.sroi_total", Some("sroi_updated")),
            ("metrics.sroi.total", Some("sroi_updated")),
            ("metrics.calculated", Some("metric_updated")),
            ("metrics.sro", Some("metric_updated")),
            ("q2q.changed", Some("vis_updated")),
            ("journey.flag", Some("journey_flag_updated")),
            ("metrics", None),
            ("metrics.", None),
            ("metricsx.a", None),
            ("Metrics.a", None),
            ("orders.new", None),
            ("", None),
        ] {
            assert_eq!(event_type(subject), expected, "{subject}");
        }
    }

    #[test]
    fn the_payload_passes_byte_for_byte() {
        let payload = "{ \"companyId\" :\"acme\", \"n\": 1.00e+2, \"big\": 123456789012345678901234567890 }\n";
        let outcome = Recorder::<platform>::new().run(&TestEvent::new("metrics.a", payload));
        assert_eq!(outcome, Outcome::Emit(vec![Emission::new("metric_updated", payload).to_companies(["acme"])]));
    }

    #[test]
    fn one_event_never_reaches_two_companies_by_a_comma_in_the_name() {
        let event = TestEvent::new("metrics.a", r#"{"companyId":"acme,globex"}"#);
        let outcome = Recorder::<platform>::new().run(&event);
        assert_eq!(outcome, Outcome::Error("`acme,globex` can't be a company's name".to_owned()));
    }
}
