//! What stands in the brackets of `#[filter(…)]`.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, LitInt, LitStr, Token, bracketed};

/// What a filter says of itself.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<LitStr>,
    pub(crate) reads: Vec<LitStr>,
    pub(crate) emits: Vec<LitStr>,
    pub(crate) state_version: Option<u32>,
    pub(crate) config_schema: Option<LitStr>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Self::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "name" => arguments.name = Some(input.parse()?),
                "version" => arguments.version = Some(input.parse()?),
                "reads" => arguments.reads = list(input)?,
                "emits" => arguments.emits = list(input)?,
                "state_version" => arguments.state_version = Some(input.parse::<LitInt>()?.base10_parse()?),
                "config_schema" => arguments.config_schema = Some(input.parse()?),
                other => {
                    let known = "known are name, version, reads, emits, state_version and config_schema";
                    return Err(syn::Error::new(key.span(), format!("`{other}` is unknown: {known}")));
                }
            }
            if seen.contains(&key.to_string()) {
                return Err(syn::Error::new(key.span(), format!("`{key}` stands twice")));
            }
            seen.push(key.to_string());
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

fn list(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    let inner;
    bracketed!(inner in input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&inner)?.into_iter().collect())
}
