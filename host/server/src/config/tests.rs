//! The promises of the configuration: layers, errors, what does not start.

use super::{AccessMode, Config, ConfigError, ConfigFault, KeySet, LogFormat, Origin, SlowClient, Sources};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder of this test alone, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file for the test");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn sources(file: Option<&Path>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources {
        file: file.map(|path| (path.to_owned(), Origin::Flag("--config".to_owned()))),
        look_for_file: false,
        environment: environment.iter().map(pair).collect(),
        flags: flags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned(), format!("--set {key}")))
            .collect(),
    }
}

fn refused(pairs: &[(&str, &str)]) -> ConfigError {
    Config::from_pairs(pairs).expect_err("this configuration is refused")
}

fn refused_file(name: &str, text: &str) -> ConfigError {
    let folder = Folder::new(name);
    let path = folder.file("tidegate.toml", text);
    Config::load(&sources(Some(&path), &[], &[])).expect_err("this file is refused")
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = Config::from_pairs(&[]).expect("the defaults fit each other");
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:3007");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:3008");
    assert_eq!(config.source.subjects, ["metrics.*", "journey.*", "q2q.*"]);
    assert!(config.streaming.enabled && config.nats.url.is_none() && config.redis.url.is_none());
    assert_eq!(config.replay.retention, Duration::from_secs(86_400));
    assert_eq!((config.replay.max_events, config.replay.max_bytes), (1_000_000, 1 << 30));
    assert_eq!((config.replay.rebuild, config.backlog.max_age), (config.replay.retention, config.replay.retention));
    assert_eq!(
        (config.limits.event_bytes, config.limits.frame_bytes, config.limits.connections),
        (1 << 20, 4 << 20, 100_000)
    );
    assert_eq!(
        (config.live.buffer, config.live.slow_client, config.live.ring_bytes),
        (100, SlowClient::CatchUp, 4 << 20)
    );
    assert_eq!((config.live.drain, config.live.rotate), (Duration::from_secs(10), None));
    assert_eq!(config.filters.limits, tidegate_filter::Limits::default());
    assert_eq!(config.filters.limits_max, tidegate_filter::Limits::ceiling());
    assert_eq!((config.access.mode, config.access.jwt.company_claim.as_str()), (AccessMode::Open, "companyId"));
    assert_eq!(config.access.jwt.cookie, "tidegate_token");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_bad_value_is_told_also_where_a_stronger_layer_sets_the_key() {
    let folder = Folder::new("overridden");
    let path = folder.file("tidegate.toml", "[replay]\nretention = \"a while\"\n");
    let environment = [("TIDEGATE_RETENTION", "7d")];
    let refused = Config::load(&sources(Some(&path), &environment, &[])).expect_err("the file is wrong").to_string();
    assert!(refused.contains("replay.retention") && refused.contains("a while"), "{refused}");
    assert!(refused.contains("tidegate.toml"), "the origin is the file: {refused}");
    let refused = Config::load(&sources(None, &[("TIDEGATE_CORS", "no origin")], &[("http.cors-origins", "http://a")]));
    assert!(refused.expect_err("a list is read in every layer, too").to_string().contains("TIDEGATE_CORS"));
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults() {
    let folder = Folder::new("layers");
    let path = folder.file(
        "tidegate.toml",
        "[http]\nport = 1\n[live]\nbuffer = 7\ndrain = \"1m30s\"\n[source]\nsubjects = [\"a.*\", \"b.>\"]\n[flags]\nacme = false\n[log]\nformat = \"json\"\n",
    );
    let environment = [("PORT_ANALYTICS", "2"), ("TIDEGATE_HEARTBEAT", "5s"), ("NATS_URL", "")];
    let config = Config::load(&sources(Some(&path), &environment, &[("http.port", "3")])).expect("all layers are fine");
    assert_eq!(config.http.listen.port(), 3);
    assert_eq!((config.live.buffer, config.live.drain), (7, Duration::from_secs(90)));
    assert_eq!(config.live.heartbeat, Duration::from_secs(5));
    assert_eq!(config.source.subjects, ["a.*", "b.>"]);
    assert_eq!(config.log.format, Some(LogFormat::Json));
    assert!(config.nats.url.is_none(), "an empty variable is no setting");
    let company = tidegate_core::event::Company::new("acme").expect("a name");
    assert!(!config.flags.streams(&company));

    let origin =
        |key: &str| config.settings().iter().find(|setting| setting.key == key).map(|setting| setting.origin.clone());
    assert_eq!(origin("http.port"), Some(Origin::Flag("--set http.port".to_owned())));
    assert_eq!(origin("live.heartbeat"), Some(Origin::Environment("TIDEGATE_HEARTBEAT".to_owned())));
    assert_eq!(origin("live.drain"), Some(Origin::File { path: path.clone(), line: 5 }));
    assert_eq!(origin("flags.acme"), Some(Origin::File { path, line: 9 }));
    assert_eq!(origin("live.ring-bytes"), Some(Origin::Default));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_key_that_was_meant() {
    let error = refused_file("unknown", "# mine\n\n[http]\nhost = \"127.0.0.1\"\nprot = 3007\n");
    assert_eq!((error.fault, error.key.as_str(), error.value.as_str()), (ConfigFault::UnknownKey, "http.prot", "3007"));
    let text = error.to_string();
    assert!(text.contains("tidegate.toml:5") && text.contains("is `http.port` meant?"), "{text}");
    assert!(text.contains("accepted: http.host, http.port, http.cors-origins"), "{text}");
}

#[test]
fn an_unknown_table_is_refused() {
    let error = refused_file("table", "[htpp]\nport = 1\n");
    assert_eq!((error.fault, error.key.as_str()), (ConfigFault::UnknownKey, "htpp"));
    assert!(error.to_string().contains("accepted: keys in streaming, http, admin"), "{error}");
}

#[test]
fn a_bad_value_is_named_with_its_origin_and_what_is_accepted() {
    let error = Config::load(&sources(None, &[("PORT_ANALYTICS", "seventy")], &[])).expect_err("no port");
    assert_eq!(
        error.to_string(),
        "configuration: http.port = seventy (environment PORT_ANALYTICS): not a whole number: invalid digit found in string; \
         accepted: a port from 0 to 65535; 0 picks a free one"
    );
    for (key, value) in [
        ("http.port", "65536"),
        ("http.host", "example.com"),
        ("admin.listen", "3008"),
        ("streaming.enabled", "maybe"),
        ("live.heartbeat", "31s"),
        ("live.heartbeat", "30"),
        ("live.slow-client", "wait"),
        ("replay.max-bytes", "much"),
        ("owner.lease", "10ms"),
        ("nats.url", "http://nats:4222"),
        ("redis.url", "cache:6379"),
        ("nats.stream", "a.b"),
        ("source.subjects", "$SYS.>"),
        ("source.subjects", "tidegate.dlq.*"),
        ("http.cors-origins", "*"),
        ("access.mode", "closed"),
        ("access.jwt.algorithms", "none"),
        ("admin.token", "short"),
        ("log.format", "xml"),
        ("log.level", "info,tidegate=loud"),
        ("log.level", "inof"),
        ("log.level", "info,tidegate"),
        ("log.level", "info, debug"),
        ("log.level", "info,"),
        ("filters.limits.call-ms", "0"),
    ] {
        let error = refused(&[(key, value)]);
        assert_eq!((error.fault, error.key.as_str()), (ConfigFault::BadValue, key), "{error}");
        assert!(!error.problem.is_empty() && !error.accepts.is_empty(), "{error}");
    }
}

#[test]
fn a_level_that_is_no_level_is_told_and_does_not_silence_the_log() {
    let error = Config::load(&sources(None, &[("TIDEGATE_LOG", "inof")], &[])).expect_err("a typo");
    assert_eq!(
        error.to_string(),
        "configuration: log.level = inof (environment TIDEGATE_LOG): `inof` is no level; \
         accepted: off, error, warn, info, debug, trace, or directives such as info,tidegate=debug"
    );
    for level in ["off", "WARN", "info,tidegate=debug", "tidegate=trace", "[span]=debug", "warn,tidegate[{a}]"] {
        assert_eq!(Config::from_pairs(&[("log.level", level)]).expect(level).log.level, level);
    }
}

#[test]
fn a_file_that_can_not_be_read_is_named() {
    let error = Config::load(&sources(Some(Path::new("/nowhere/tidegate.toml")), &[], &[])).expect_err("no file");
    assert_eq!(error.fault, ConfigFault::Unreadable);
    assert!(error.to_string().contains("/nowhere/tidegate.toml (flag --config): not readable"), "{error}");
}

#[test]
fn a_file_that_is_not_toml_is_named_with_the_line() {
    let error = refused_file("syntax", "[http]\nport = 1\nhost = = 2\n");
    assert_eq!(error.fault, ConfigFault::Unreadable);
    assert!(error.to_string().contains("tidegate.toml:3"), "{error}");
}

#[test]
fn files_named_by_keys_must_be_readable() {
    for key in ["nats.creds", "access.jwt.public-key", "access.jwt.jwks"] {
        let error = refused(&[(key, "/nowhere/file")]);
        assert!(error.problem.contains("not readable"), "{error}");
    }
}

#[test]
fn secrets_and_passwords_are_in_no_message() {
    let error = refused(&[("admin.token", "hush hush hush hush")]);
    assert!(!error.to_string().contains("hush"), "{error}");
    let error = refused(&[("redis.url", "http://user:hush@cache")]);
    assert!(!error.to_string().contains("hush"), "{error}");
    let config = Config::from_pairs(&[
        ("redis.url", "redis://user:hush@cache:6379"),
        ("access.jwt.secret", "hush"),
        ("admin.token", "hush-hush-hush-hush"),
    ])
    .expect("fine");
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn an_open_host_listens_on_loopback_alone_unless_told_otherwise() {
    let error = refused(&[("http.host", "0.0.0.0")]);
    assert_eq!((error.fault, error.key.as_str()), (ConfigFault::Conflict, "http.host"));
    assert!(error.to_string().contains("access.mode"), "{error}");
    let open = Config::from_pairs(&[("http.host", "0.0.0.0"), ("access.mode", "open")]).expect("said so");
    assert_eq!(open.warnings.len(), 1);
    assert!(Config::from_pairs(&[("http.host", "::1")]).is_ok());
}

#[test]
fn jwt_needs_a_key_that_fits_its_algorithms() {
    let error = refused(&[("access.mode", "jwt")]);
    assert!(error.to_string().contains("access.jwt.secret"), "{error}");
    let error =
        refused(&[("access.mode", "jwt"), ("access.jwt.secret", "s"), ("access.jwt.algorithms", "HS256,RS256")]);
    assert_eq!(error.key, "access.jwt.algorithms");
    assert!(error.problem.contains("RS256 needs access.jwt.public-key"), "{error}");
    let config =
        Config::from_pairs(&[("access.mode", "jwt"), ("access.jwt.secret", "0123456789abcdef0123456789abcdef")])
            .expect("a secret");
    assert_eq!(config.access.jwt.algorithms, [jsonwebtoken::Algorithm::HS256]);
    assert!(config.warnings.iter().any(|warning| warning.contains("issuer")), "{:?}", config.warnings);
    let config = Config::from_pairs(&[("access.mode", "jwt"), ("access.jwt.jwks", "https://id.example.com/keys")])
        .expect("a key set");
    assert_eq!(config.access.jwt.algorithms.len(), 3);
    assert_eq!(config.access.jwt.jwks, Some(KeySet::Address("https://id.example.com/keys".to_owned())));
}

#[test]
fn values_that_do_not_fit_each_other_are_refused() {
    for (pairs, key) in [
        (&[("limits.frame-bytes", "512KiB")][..], "limits.frame-bytes"),
        (&[("live.ring-bytes", "1MiB")], "live.ring-bytes"),
        (&[("backlog.max-bytes", "1KiB")], "backlog.max-bytes"),
        (&[("backlog.max-age", "48h")], "backlog.max-age"),
        (&[("filters.limits.memory-mib", "1000")], "filters.limits.memory-mib"),
        (&[("source.subjects", "metrics.*,metrics.calculated")], "source.subjects"),
        (&[("source.subjects", " , ")], "source.subjects"),
    ] {
        let error = refused(pairs);
        assert_eq!((error.fault, error.key.as_str()), (ConfigFault::Conflict, key), "{error}");
    }
}

#[test]
fn a_flag_for_a_company_is_a_boolean_and_a_company_may_be_called_database() {
    let folder = Folder::new("flags");
    let path = folder.file("tidegate.toml", "[flags]\ndatabase = false\n");
    let config = Config::load(&sources(Some(&path), &[("DATABASE_URL", "postgres://db/x")], &[])).expect("both");
    assert!(config.flags.database.is_some() && config.flags.companies.len() == 1);
    let error = refused_file("flag-text", "[flags]\nacme = \"off\"\n");
    assert_eq!((error.fault, error.key.as_str()), (ConfigFault::BadValue, "flags.acme"));
    let error = refused_file("flag-name", "[flags]\n_acme = true\n");
    assert!(error.problem.contains("does not start"), "{error}");
}

#[test]
fn a_variable_that_sets_nothing_is_a_warning() {
    let environment = [
        ("TIDEGATE_RETENTON", "1h"),
        ("TIDEGATE_URL", "x"),
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_PORT", "tcp://x"),
    ];
    let config = Config::load(&sources(None, &environment, &[])).expect("only a warning");
    assert_eq!(
        config.warnings,
        ["the environment variable TIDEGATE_RETENTON sets no key; is TIDEGATE_RETENTION meant?"]
    );
}

#[test]
fn the_listing_names_value_and_origin_of_every_key() {
    let config =
        Config::from_pairs(&[("nats.url", "nats://u:p@n:4222"), ("ingest.token", "0123456789abcdef")]).expect("fine");
    let line = |key: &str| {
        config.settings().iter().find(|setting| setting.key == key).and_then(|setting| setting.value.clone())
    };
    assert_eq!(line("nats.url").as_deref(), Some("nats://…@n:4222"));
    assert_eq!(line("ingest.token").as_deref(), Some("(hidden)"));
    assert_eq!(line("backlog.max-age").as_deref(), Some("24h"));
    assert_eq!(line("live.rotate"), None);
}

#[test]
fn an_address_for_all_is_reached_on_loopback() {
    let config =
        Config::from_pairs(&[("http.host", "0.0.0.0"), ("access.mode", "open"), ("http.port", "81")]).expect("fine");
    assert_eq!(config.local_url(), "http://127.0.0.1:81");
}
