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
