//! What `#[filter]` writes: the function, a type of its name that is the filter, and the exports.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Error, FnArg, ItemFn, Result, ReturnType, Type};

use crate::arguments::Arguments;
use crate::question::Question;

/// Expands the attribute, or says what is wrong with the function.
pub(crate) fn filter(arguments: &Arguments, mut function: ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    let plain = signature.asyncness.is_none() && signature.unsafety.is_none() && signature.constness.is_none();
    if !plain || !signature.generics.params.is_empty() || signature.variadic.is_some() {
        return Err(Error::new(signature.span(), "a filter is a plain function: not async, unsafe, const or generic"));
    }
    let mut inputs = signature.inputs.iter();
    let takes_event = inputs.next().is_some_and(|input| referred(input).is_ok_and(|(_, ty)| ends_with(ty, "Event")));
    if !takes_event {
        return Err(Error::new(signature.span(), "a filter's first argument is the event: `event: &Event`"));
    }
    let mut config = None;
    let mut passed = vec![quote!(event)];
    let mut has_state = false;
    for input in inputs {
        let (mutable, ty) = referred(input)?;
        if ends_with(ty, "State") && !has_state {
            has_state = true;
            passed.push(if mutable { quote!(state) } else { quote!(&*state) });
        } else if config.is_none() && !mutable && !has_state {
            config = Some(ty.clone());
            passed.push(quote!(config));
        } else {
            let order = "after the event come the configuration (`&Config`) and the state (`&State` or `&mut State`)";
            return Err(Error::new(input.span(), format!("{order}, each at most once")));
        }
    }
    let ReturnType::Type(_, returned) = &signature.output else {
        return Err(Error::new(signature.span(), "a filter returns a `Verdict` or a `Result` of one"));
    };
    if ends_with(returned, "Verdict") {
        Question.visit_block_mut(&mut function.block);
    }

    let name = &function.sig.ident;
    let visibility = &function.vis;
    let config = config.map_or_else(|| quote!(::tidegate_guest::NoConfig), |ty| quote!(#ty));
    let description = describe(arguments);
    let documentation = format!("The filter [`{name}`](fn@{name}), for `tidegate_guest::testing`.");
    Ok(quote! {
        #function

        #[doc = #documentation]
        #[allow(non_camel_case_types, reason = "it bears the name of its function")]
        #[derive(Clone, Copy, Debug)]
        #visibility enum #name {}

        impl ::tidegate_guest::Filter for #name {
            type Config = #config;

            fn describe() -> ::tidegate_guest::Description {
                #description
            }

            fn process(
                event: &::tidegate_guest::Event<'_>,
                config: &Self::Config,
                state: &mut ::tidegate_guest::State,
            ) -> ::tidegate_guest::Verdict {
                let _ = (&config, &state);
                ::tidegate_guest::IntoVerdict::into_verdict(#name(#(#passed),*))
            }
        }

        ::tidegate_guest::__export_filter!(#name);
    })
}

fn describe(arguments: &Arguments) -> TokenStream {
    let name = arguments.name.as_ref().map_or_else(|| quote!(::core::env!("CARGO_PKG_NAME")), |name| quote!(#name));
    let version = arguments
        .version
        .as_ref()
        .map_or_else(|| quote!(::core::env!("CARGO_PKG_VERSION")), |version| quote!(#version));
    let (reads, emits) = (&arguments.reads, &arguments.emits);
    let state_version = arguments.state_version.unwrap_or(1);
    // A file's path is the package's, wherever the function stands in it.
    let config_schema = arguments.config_schema.as_ref().map_or_else(
        || quote!(""),
        |path| quote!(::core::include_str!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", #path))),
    );
    quote! {
        ::tidegate_guest::Description {
            name: #name,
            version: #version,
            reads: &[#(#reads),*],
            emits: &[#(#emits),*],
            state_version: #state_version,
            config_schema: #config_schema,
        }
    }
}

/// The type behind a reference argument, and whether it is `&mut`.
fn referred(input: &FnArg) -> Result<(bool, &Type)> {
    match input {
        FnArg::Typed(argument) => match &*argument.ty {
            Type::Reference(reference) => Ok((reference.mutability.is_some(), &reference.elem)),
            other => Err(Error::new(other.span(), "a filter's arguments are references")),
        },
        FnArg::Receiver(receiver) => Err(Error::new(receiver.span(), "a filter is a plain function, not a method")),
    }
}

fn ends_with(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == name))
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn refused(function: ItemFn) -> String {
        filter(&Arguments::default(), function).expect_err("refused").to_string()
    }

    #[test]
    fn a_function_that_is_no_filter_is_refused_with_the_way_out() {
        let cases: [(ItemFn, &str); 9] = [
            (
                parse_quote!(
                    async fn f(event: &Event) -> Verdict {}
                ),
                "a plain function",
            ),
            (
                parse_quote!(
                    fn f<T>(event: &Event) -> Verdict {}
                ),
                "a plain function",
            ),
            (
                parse_quote!(
                    fn f() -> Verdict {}
                ),
                "`event: &Event`",
            ),
            (
                parse_quote!(
                    fn f(config: &Config) -> Verdict {}
                ),
                "`event: &Event`",
            ),
            (
                parse_quote!(
                    fn f(event: Event) -> Verdict {}
                ),
                "`event: &Event`",
            ),
            (
                parse_quote!(
                    fn f(event: &Event, config: Config) -> Verdict {}
                ),
                "references",
            ),
            (
                parse_quote!(
                    fn f(event: &Event, a: &A, b: &B) -> Verdict {}
                ),
                "at most once",
            ),
            (
                parse_quote!(
                    fn f(event: &Event, config: &mut Config) -> Verdict {}
                ),
                "(`&Config`)",
            ),
            (
                parse_quote!(
                    fn f(event: &Event) {}
                ),
                "returns a `Verdict`",
            ),
        ];
        for (function, expected) in cases {
            let text = refused(function);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn an_unknown_or_repeated_argument_is_refused_by_name() {
        let refused =
            |text: &str| syn::parse_str::<Arguments>(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused("nmae = \"x\"").contains("`nmae` is unknown"));
        assert!(refused("name = \"x\", name = \"y\"").contains("`name` stands twice"));
        assert!(refused("state_version = \"x\"").contains("integer"));
    }
}
