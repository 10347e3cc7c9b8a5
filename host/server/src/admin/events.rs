//! `/admin/events`: real events of a company, for tests of its filters.

use crate::capture::{Capture, CaptureError, GIVEN, Wanted};
use crate::http::respond::{Answer, json, refused};
use crate::modules::selftest::event_line;
use http::{Response, StatusCode};
use serde_json::json as value;
use tidegate_core::event::Company;

/// `GET /admin/events?company=&since=&subject=&after=&limit=`: each event as a line of `--events`.
pub(super) async fn list(capture: &Capture, query: &str) -> Response<Answer> {
    let wanted = match wanted(query) {
        Ok(wanted) => wanted,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    match capture.events(&wanted).await {
        Ok(captured) => {
            let lines: Vec<String> = captured.inputs.iter().map(event_line).collect();
            json(StatusCode::OK, &value!({ "lines": lines, "after": captured.after }))
        }
        Err(error @ CaptureError::KeepsNothing) => refused(StatusCode::CONFLICT, &error.to_string()),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn wanted(query: &str) -> Result<Wanted, String> {
    let (mut company, mut since_ms, mut subject, mut after, mut limit) = (None, 0, None, None, 100);
    for (name, given) in form_urlencoded::parse(query.as_bytes()) {
        let number = || given.parse::<u64>().map_err(|_error| format!("{name}={given}: not a number"));
        match name.as_ref() {
            "company" => company = Some(Company::new(&given).map_err(|error| error.to_string())?),
            "since" => since_ms = number()?,
            "subject" => subject = Some(given.into_owned()),
            "after" => after = Some(number()?),
            "limit" => limit = usize::try_from(number()?).unwrap_or(GIVEN),
            other => return Err(format!("`{other}` is not asked for here")),
        }
    }
    let company = company.ok_or("whose events? company=… is missing")?;
    Ok(Wanted { company, since_ms, subject, after, limit })
}
