//! Filters in order, taken and swapped as one.

use crate::check::Role;
use crate::error::LoadError;
use crate::filter::{Filter, OnError};
use std::sync::Arc;

/// Filters in a chain.
const FILTERS_MAX: usize = 64;

/// The filters of a company, or of the platform, in the order in which events pass them. It never changes: a swap takes
/// another one.
#[derive(Debug)]
pub struct Chain {
    role: Role,
    filters: Vec<Arc<Filter>>,
    digest: Arc<str>,
}

impl Chain {
    /// Puts filters in order. Without filters everything passes as it is, which a platform chain can't do.
    ///
    /// # Errors
    /// A filter that was loaded for the other role, two of one name, `pause` in a platform chain (nothing could wait
    /// there), a platform chain without filters, or over 64 filters.
    pub fn new(filters: Vec<Arc<Filter>>, role: Role) -> Result<Self, LoadError> {
        let wrong = |problem: String| Err(LoadError::Configuration(problem));
        if filters.len() > FILTERS_MAX {
            return wrong(format!("{} filters in one chain; {FILTERS_MAX} are allowed", filters.len()));
        }
        if role == Role::Platform && filters.is_empty() {
            return wrong("a platform chain needs a filter that decides company and event type".into());
        }
        for (index, filter) in filters.iter().enumerate() {
            if filter.code().role() != role {
                return wrong(format!("{} was loaded for another place than this chain", filter.name()));
            }
            if role == Role::Platform && filter.on_error() == OnError::Pause {
                return wrong(format!(
                    "{}: `on-error = \"pause\"` is not for platform filters: nothing can wait there",
                    filter.name()
                ));
            }
            if filters[..index].iter().any(|other| other.name() == filter.name()) {
                return wrong(format!("two filters of the name {}", filter.name()));
            }
        }
        let mut hasher = blake3::Hasher::new();
        for filter in &filters {
            hasher.update(filter.instance_key().as_bytes()).update(b"\n");
        }
        Ok(Self { role, filters, digest: hasher.finalize().to_hex().as_str().into() })
    }

    /// Its filters, in order.
    #[must_use]
    pub fn filters(&self) -> &[Arc<Filter>] {
        &self.filters
    }

    /// Whose chain it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// BLAKE3 over the names and digests of its filters, in hexadecimal: what outputs are stamped with.
    #[must_use]
    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// Lets the memory of its filters' code go for now ([`crate::Code::rest`]), but of code that another filter has, too.
    pub fn rest(&self) {
        self.filters
            .iter()
            .filter(|filter| Arc::strong_count(filter.code()) == 1)
            .for_each(|filter| filter.code().rest());
    }

    /// Whether one of its filters can keep state.
    #[must_use]
    pub fn is_stateful(&self) -> bool {
        self.filters.iter().any(|filter| filter.code().imports_state())
    }
}
