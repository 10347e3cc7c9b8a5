//! The demo: sample companies, filters and events on embedded defaults, and a page that shows them.

mod events;
mod page;
mod switches;

use crate::clock::Clock;
use crate::http::respond::{Answer, json, refuse, whole};
use crate::source::Source;
use crate::tasks::Tasks;
use http::header::CONTENT_SECURITY_POLICY;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// The companies of the demo.
pub const COMPANIES: [&str; 3] = ["company-a", "company-b", "company-c"];

/// The demo's routes and its generator of events.
#[derive(Debug)]
pub struct Demo {
    switches: switches::Switches,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
}

impl Demo {
    /// Lays the sample filters out in the folder of modules, unless some are there.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn prepare(modules: &Path) -> std::io::Result<Self> {
        Ok(Self { switches: switches::Switches::prepare(modules)? })
    }

    /// Publishes sample events until the host stops.
    pub fn run(source: Arc<dyn Source>, clock: Clock, tasks: &Tasks) {
        let stop = tasks.token();
        tasks.spawn("demo events", async move { events::publish(source, clock, stop).await });
    }

    /// Answers the page's requests.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/demo/filters") => json(StatusCode::OK, &self.switches.list()),
            (&Method::POST, path) => match path.strip_prefix("/demo/filters/").and_then(|rest| rest.split_once('/')) {
                Some((company, name)) => self.switch(company, name, request).await,
                None => not_found(),
            },
            (&Method::GET | &Method::HEAD, path) => match page::file(path) {
                Some((kind, text)) => page_file(kind, text),
                None => not_found(),
            },
            _ => not_found(),
        }
    }

    async fn switch(&self, company: &str, name: &str, request: Request<Incoming>) -> Response<Answer> {
        let (company, name) = (company.to_owned(), name.to_owned());
        let body = match Limited::new(request.into_body(), 1_024).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return refuse(StatusCode::BAD_REQUEST, "Bad Request", &error.to_string()),
        };
        let switch: Switch = match serde_json::from_slice(&body) {
            Ok(switch) => switch,
            Err(error) => {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    "Bad Request",
                    &format!("{{\"on\":bool}} is expected: {error}"),
                );
            }
        };
        match self.switches.set(&company, &name, switch.on) {
            Ok(Some(filter)) => json(StatusCode::OK, &filter),
            Ok(None) => not_found(),
            Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", &error.to_string()),
        }
    }
}

/// The page loads nothing from elsewhere and says so to the browser.
fn page_file(kind: &'static str, text: &'static str) -> Response<Answer> {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:";
    let mut response = whole(StatusCode::OK, kind, text);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn not_found() -> Response<Answer> {
    refuse(StatusCode::NOT_FOUND, "Not Found", "there is nothing at this address")
}
