//! The `#[filter]` attribute: a function becomes a Tidegate filter.

mod arguments;
mod expand;
mod question;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

/// Makes a function a filter: what the host calls in WebAssembly, and a type of the same name for native tests.
///
/// The function takes `&Event`, then, as it needs them, a reference to its configuration (any type that implements
/// `serde::Deserialize`) and `&State` or `&mut State`. It returns a `Verdict`, or a `Result` of one whose error can be
/// displayed. Where it returns a `Verdict`, `?` on a `Result` works too: the error becomes the event's error text.
/// (In closures and inside other macros `?` keeps its own meaning.)
///
/// `#[filter(name = "…", version = "…", reads = ["metrics.*"], emits = ["alert"], state_version = 2,
/// config_schema = "schema.json")]` says more about it, all optional: name and version are the package's by default;
/// without `reads` and `emits` nothing is said; the JSON Schema of its configuration is a file of the package.
///
/// A crate has one filter.
#[proc_macro_attribute]
pub fn filter(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(attributes as arguments::Arguments);
    let function = parse_macro_input!(item as ItemFn);
    expand::filter(&arguments, function).unwrap_or_else(syn::Error::into_compile_error).into()
}
