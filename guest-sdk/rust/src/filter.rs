//! A filter as the SDK runs it, in the host and in native tests alike.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::bindings::tidegate::filter::types;
use crate::{Event, State, Verdict, json, output};

/// What a filter says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name; the package's, if not given.
    pub name: &'static str,
    /// Its version; the package's, if not given.
    pub version: &'static str,
    /// Subjects it expects, with `*` and `>` as in NATS; empty: any.
    pub reads: &'static [&'static str],
    /// Event types it may emit; empty: any.
    pub emits: &'static [&'static str],
    /// Version of what it keeps in [`State`]: a new version of the filter that declares another one starts empty.
    pub state_version: u32,
    /// JSON Schema of its configuration; empty: none. The host refuses a configuration that doesn't fit.
    pub config_schema: &'static str,
}

/// A filter. Implemented by [`#[filter]`](macro@crate::filter) for a type with the function's name.
pub trait Filter {
    /// Its configuration.
    type Config: DeserializeOwned + 'static;

    /// What it says of itself.
    fn describe() -> Description;

    /// Its answer to one event.
    fn process(event: &Event<'_>, config: &Self::Config, state: &mut State) -> Verdict;
}

/// The configuration of a filter that has none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads the configuration, or says what is wrong with it.
pub fn configure<F: Filter>(text: &str) -> Result<F::Config, String> {
    let text = if text.trim_ascii().is_empty() { "{}" } else { text };
    json::read(text.as_bytes()).map_err(|problem| format!("configuration: {problem}"))
}

/// One verdict for each event, in order.
pub fn process<F: Filter>(config: &F::Config, events: &[types::Event], bytes: &[u8]) -> types::BatchResult {
    output::begin(bytes);
    let mut state = State::open();
    let mut verdicts = Vec::with_capacity(events.len());
    for record in events {
        output::begin_event();
        let verdict = F::process(&Event::new(record, bytes), config, &mut state);
        verdicts.push(output::settle(&verdict));
    }
    let (emissions, bytes) = output::finish();
    types::BatchResult { verdicts, emissions, bytes }
}

/// A panic ends the instance: what it says must reach the host before.
#[cfg(target_arch = "wasm32")]
pub fn report_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| crate::log::error(panic))));
}

/// The three exports of the world, for a filter's type.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_filter {
    ($filter:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::__private::{Exports, Filter, bindings, filter};

            ::std::thread_local! {
                static CONFIG: ::std::cell::RefCell<::std::option::Option<<$filter as Filter>::Config>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            struct Exported;

            impl Exports for Exported {
                fn describe() -> bindings::Description {
                    filter::report_panics();
                    let own = <$filter as Filter>::describe();
                    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
                    bindings::Description {
                        name: own.name.to_owned(),
                        version: own.version.to_owned(),
                        reads: texts(own.reads),
                        emits: texts(own.emits),
                        state_version: own.state_version,
                        config_schema: own.config_schema.to_owned(),
                    }
                }

                fn init(config: ::std::string::String) -> ::std::result::Result<(), ::std::string::String> {
                    filter::report_panics();
                    let config = filter::configure::<$filter>(&config)?;
                    CONFIG.set(::std::option::Option::Some(config));
                    ::std::result::Result::Ok(())
                }

                fn process(
                    events: ::std::vec::Vec<bindings::Event>,
                    bytes: ::std::vec::Vec<u8>,
                ) -> bindings::BatchResult {
                    CONFIG.with_borrow(|config| match config {
                        ::std::option::Option::Some(config) => filter::process::<$filter>(config, &events, &bytes),
                        ::std::option::Option::None => panic!("`process` was called before `init` succeeded"),
                    })
                }
            }

            $crate::__export_filter_impl!(Exported);
        };
    };
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::bindings::tidegate::filter::types::{Place, Span, VerdictKind};
    use crate::filter;

    const INPUT: &[u8] = b"metrics.a[1,2]metrics.b{}";

    fn events() -> [types::Event; 2] {
        let event = |subject: u32, payload: u32, length: u32, sequence| types::Event {
            subject: Span { offset: subject, length: 9 },
            headers: output::EMPTY,
            company: output::EMPTY,
            event_type: output::EMPTY,
            payload: Span { offset: payload, length },
            sequence,
            time_ms: 0,
        };
        [event(0, 9, 5, 1), event(14, 23, 2, 2)]
    }

    fn run<F: Filter<Config = NoConfig>>() -> types::BatchResult {
        process::<F>(&NoConfig {}, &events(), INPUT)
    }

    fn text(result: &types::BatchResult, span: Span) -> &str {
        std::str::from_utf8(&result.bytes[span.offset as usize..][..span.length as usize]).expect("text")
    }

    #[filter]
    fn second_byte(event: &Event) -> Verdict {
        Verdict::emit("t", &event.payload()[1..])
    }

    #[test]
    fn data_that_lies_in_the_input_is_not_copied() {
        let result = run::<second_byte>();
        assert_eq!(result.bytes, b"tt");
        let places: Vec<_> =
            result.emissions.iter().map(|one| (one.data_place, one.data.offset, one.data.length)).collect();
        assert_eq!(places, [(Place::Input, 10, 4), (Place::Input, 24, 1)]);
    }

    #[filter]
    fn changes_its_mind(event: &Event) -> Verdict {
        let thrown_away = Verdict::emit("a", b"1").and("a", b"2");
        let kept = Verdict::emit("b", event.subject().as_bytes());
        let _later = Verdict::emit("c", b"3");
        let kept = kept.and("d", b"4");
        let _ = Verdict::emit("e", b"5");
        if event.sequence() == 2 {
            drop((thrown_away, kept));
            return Verdict::drop("no");
        }
        kept
    }

    #[test]
    fn only_the_returned_verdict_counts() {
        let result = run::<changes_its_mind>();
        let emitted: Vec<&str> = result.emissions.iter().map(|one| text(&result, one.event_type)).collect();
        assert_eq!(emitted, ["b", "d"]);
        assert_eq!(text(&result, result.emissions[1].data), "4");
        assert_eq!((result.verdicts[0].kind, result.verdicts[0].emissions), (VerdictKind::Emit, 2));
        assert_eq!((result.verdicts[1].kind, result.verdicts[1].emissions), (VerdictKind::Drop, 0));
        assert_eq!(text(&result, result.verdicts[1].text), "no");
        assert!(result.bytes.ends_with(b"no"), "what the dropped event wrote is gone");
    }

    thread_local! {
        static STASH: RefCell<Option<Verdict>> = const { RefCell::new(None) };
    }

    #[filter]
    fn answers_with_the_last_one(event: &Event) -> Verdict {
        let last = STASH.take();
        STASH.set(Some(Verdict::pass(event)));
        last.unwrap_or_else(|| Verdict::pass(event))
    }

    #[test]
    fn the_verdict_of_another_event_is_an_error() {
        let result = run::<answers_with_the_last_one>();
        assert_eq!((result.verdicts[0].kind, result.verdicts[0].emissions), (VerdictKind::Emit, 1));
        assert_eq!((result.verdicts[1].kind, result.emissions.len()), (VerdictKind::Error, 1));
        assert!(text(&result, result.verdicts[1].text).contains("another event"));
    }

    #[filter]
    fn to_whom(event: &Event) -> Verdict {
        let companies: &[&str] = if event.sequence() == 1 { &["a", "b"] } else { &["a", "b,c"] };
        Verdict::emit_many([("x", event.payload()), ("y", b"new")]).to_companies(companies.iter().copied())
    }

    #[test]
    fn companies_belong_to_every_emission_and_hold_no_comma() {
        let result = run::<to_whom>();
        let companies: Vec<&str> = result.emissions.iter().map(|one| text(&result, one.companies)).collect();
        assert_eq!(companies, ["a,b", "a,b"]);
        assert_eq!(result.verdicts[1].kind, VerdictKind::Error);
        assert_eq!(text(&result, result.verdicts[1].text), "`b,c` can't be a company's name");
    }

    #[filter]
    fn questions(event: &Event) -> Verdict {
        let parse = |text: &str| -> crate::Result<u8> { Ok(text.parse::<u8>()?) };
        for part in event.subject().split('.') {
            if part == "b" {
                parse(part)?;
            }
        }
        let list: Vec<u8> = event.json()?;
        Verdict::emit_json("list", &list)
    }

    #[test]
    fn a_question_mark_ends_the_event_as_an_error_but_not_a_closure() {
        let result = run::<questions>();
        assert_eq!(text(&result, result.emissions[0].data), "[1,2]");
        assert_eq!(text(&result, result.verdicts[1].text), "invalid digit found in string");
    }

    #[filter]
    fn each_item(event: &Event) -> Verdict {
        let items: Vec<&serde_json::value::RawValue> = event.json().unwrap_or_default();
        Verdict::emit_many(items.iter().map(|item| ("item", item.get().as_bytes())))
    }

    #[test]
    fn an_event_is_split_without_a_copy_and_into_nothing_is_a_drop() {
        let result = run::<each_item>();
        let data: Vec<_> = result.emissions.iter().map(|one| (one.data_place, one.data.offset)).collect();
        assert_eq!(data, [(Place::Input, 10), (Place::Input, 12)]);
        assert_eq!((result.verdicts[0].emissions, result.verdicts[1].kind), (2, VerdictKind::Drop));
    }

    #[test]
    fn a_filter_without_configuration_refuses_one() {
        assert!(configure::<questions>("").is_ok());
        assert!(configure::<questions>("{}").is_ok());
        let refused = configure::<questions>(r#"{"min":1}"#).expect_err("refused");
        assert!(refused.starts_with("configuration: unknown field `min`"), "{refused}");
    }
}
