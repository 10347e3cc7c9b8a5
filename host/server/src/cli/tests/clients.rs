//! The client verbs against a host that says what the test wants.

use super::{Done, ran};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

/// Gives one answer after the other, each on its own connection, and keeps the requests.
struct Host {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Host {
    fn answers(answers: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let answers = answers.to_vec();
        let thread = std::thread::spawn(move || answers.iter().map(|answer| exchange(&listener, answer)).collect());
        Self { url, thread }
    }

    /// The requests, once all answers were given.
    fn requests(self) -> Vec<String> {
        self.thread.join().expect("the host has ended")
    }
}

fn exchange(listener: &TcpListener, answer: &str) -> String {
    let (socket, _) = listener.accept().expect("a connection");
    let mut reader = BufReader::new(socket);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut request).expect("a line") > 0, "the request ended early");
    }
    let length = request.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    request.push_str(&String::from_utf8(body).expect("UTF-8"));
    // A client that has enough closes first.
    reader.get_mut().write_all(answer.as_bytes()).ok();
    request
}

fn json(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}connection: close\r\n\r\n{body}", body.len())
}

fn stream(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn file(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("tidegate-clients-{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("a file");
    path
}

#[test]
fn tail_comes_back_with_the_last_id_it_has_seen_whole() {
    let ready = "retry: 1\nevent: ready\ndata: {\"resumed\":false}\nid: at-1-1700000000000\n\n";
    let host = Host::answers(&[
        stream(&format!(
            "{ready}event: a\ndata: {{\"n\":1}}\nid: s-2-1700000000001\n\nevent: a\ndata: lost\nid: s-3-1700000000002\n"
        )),
        stream("event: a\ndata: {\"n\":2}\nid: s-3-1700000000002\n\nevent: a\ndata: more\n\n"),
    ]);
    let words =
        ["tail", "--company", "acme", "--from", "earliest", "--count", "2", "--url", &host.url, "--token", "t0k"];
    let (result, text) = ran(&words);
    assert_eq!(result.expect("done"), Done::Well);
    assert_eq!(text, "s-2-1700000000001  a  {\"n\":1}\ns-3-1700000000002  a  {\"n\":2}\n");
    let requests = host.requests();
    for request in &requests {
        assert!(request.starts_with("GET /stream/updates?lastEventId=earliest&companyId=acme HTTP/1.1"), "{request}");
        assert_eq!(header(request, "authorization"), Some("Bearer t0k"));
        assert_eq!(header(request, "accept"), Some("text/event-stream"));
    }
    assert_eq!(header(&requests[0], "last-event-id"), None);
    assert_eq!(header(&requests[1], "last-event-id"), Some("s-2-1700000000001"));
}

#[test]
fn tail_tells_control_events_as_json_and_ends_when_it_has_caught_up() {
    let host = Host::answers(&[stream(
        "event: ready\ndata: {}\n\n:heartbeat\nevent: heartbeat\ndata: {\"t\":1}\n\nevent: a\ndata: text\nid: i\n\nevent: caught-up\ndata: {\"replayed\":1}\n\n",
    )]);
    let (result, text) = ran(&["tail", "--company", "acme", "--until-caught-up", "--json", "--url", &host.url]);
    assert_eq!(result.expect("done"), Done::Well);
    assert_eq!(
        text,
        "{\"data\":{},\"event\":\"ready\",\"id\":\"\"}\n{\"data\":\"text\",\"event\":\"a\",\"id\":\"i\"}\n\
         {\"data\":{\"replayed\":1},\"event\":\"caught-up\",\"id\":\"i\"}\n"
    );
    host.requests();
}

#[test]
fn tail_ends_at_a_refusal_as_a_browser_does() {
    let refusal = r#"{"error":"Forbidden","message":"You can only stream events for your own company"}"#;
    let host = Host::answers(&[json("403 Forbidden", "", refusal)]);
    let (result, text) = ran(&["tail", "--company", "acme", "--url", &host.url]);
    let error = format!("{:#}", result.expect_err("refused"));
    assert!(error.ends_with("403 Forbidden: You can only stream events for your own company"), "{error}");
    assert_eq!(text, "");
    host.requests();
}

#[test]
fn tail_says_how_to_give_the_token_that_a_host_asks_for() {
    let refusal = r#"{"error":"Unauthorized","message":"a token is missing"}"#;
    let host = Host::answers(&[json("401 Unauthorized", "", refusal)]);
    let (result, _) = ran(&["tail", "--company", "acme", "--url", &host.url]);
    let error = format!("{:#}", result.expect_err("refused"));
    assert!(error.ends_with("a token is missing; give one for acme with --token"), "{error}");
    host.requests();
}

#[test]
fn publish_offers_a_batch_again_under_the_same_key() {
    let host = Host::answers(&[
        json(
            "503 Service Unavailable",
            "retry-after: 0\r\n",
            r#"{"error":"x","message":"one was taken","accepted":1}"#,
        ),
        json("202 Accepted", "", r#"{"accepted":3,"first":7,"last":9}"#),
    ]);
    let path = file("events", "{\"n\":1}\r\n\n{\"n\":2}\n{\"n\":3}");
    let words = [
        "publish",
        "metrics.a",
        path.to_str().expect("UTF-8"),
        "--url",
        &host.url,
        "--token",
        "t0k",
        "--config",
        "/dev/null",
    ];
    let (result, text) = ran(&words);
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(result.expect("done"), Done::Well);
    assert_eq!(text, "published 3 events to metrics.a by the host (sequence 7 to 9)\n");
    let requests = host.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(header(&requests[0], "idempotency-key"), header(&requests[1], "idempotency-key"));
    for request in &requests {
        assert!(request.starts_with("POST /ingest/metrics.a HTTP/1.1"), "{request}");
        assert_eq!(header(request, "content-type"), Some("application/x-ndjson"));
        assert_eq!(header(request, "authorization"), Some("Bearer t0k"));
        assert!(request.ends_with("\r\n\r\n{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"), "{request}");
    }
}

#[test]
fn publish_says_what_was_taken_before_it_failed() {
    let host = Host::answers(&[
        json("202 Accepted", "", r#"{"accepted":1000,"first":1,"last":1000}"#),
        json("400 Bad Request", "", r#"{"error":"Bad Request","message":"line 1 is not JSON"}"#),
    ]);
    let path = file("many", &"1\n".repeat(1_001));
    let words =
        ["publish", "metrics.a", path.to_str().expect("UTF-8"), "--json", "--url", &host.url, "--config", "/dev/null"];
    let (result, text) = ran(&words);
    std::fs::remove_file(&path).expect("removed");
    let error = format!("{:#}", result.expect_err("refused"));
    assert!(error.starts_with("stopped after 1000 events: ") && error.contains("line 1 is not JSON"), "{error}");
    assert_eq!(text, "{\"accepted\":1000,\"first\":1,\"last\":1000,\"subject\":\"metrics.a\"}\n");
    host.requests();
}

#[test]
fn modules_are_listed_from_the_admin_api() {
    let body = r#"{"folders":[{"folder":"acme","state":"active","since":null,"reason":null,"filters":[{"name":"10-a","digest":"d1"}]}]}"#;
    let host =
        Host::answers(&[json("200 OK", "", body), json("401 Unauthorized", "", r#"{"message":"no credential"}"#)]);
    let (result, text) = ran(&["modules", "--admin", &host.url, "--admin-token", "t0k"]);
    assert_eq!(result.expect("done"), Done::Well);
    assert!(text.starts_with("FOLDER") && text.contains("acme    10-a"), "{text}");
    let (result, _) = ran(&["modules", "--admin", &host.url, "--json"]);
    assert!(format!("{:#}", result.expect_err("refused")).contains("401 Unauthorized: no credential"));
    let requests = host.requests();
    assert!(requests[0].starts_with("GET /admin/modules HTTP/1.1"), "{}", requests[0]);
    assert_eq!(header(&requests[0], "authorization"), Some("Bearer t0k"));
}
