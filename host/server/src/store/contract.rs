//! What every store keeps to: the same tests run on each of them.

mod backlog;
mod cleaning;
pub(crate) mod commits;
mod measure;
mod pages;
mod records;
pub(crate) mod server;
pub(crate) mod stand;

/// Runs each of these tests on each store.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::store::contract::stand::Stand::embedded()).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                if let Some(stand) = crate::store::contract::stand::Stand::redis() {
                    super::$name(stand).await;
                }
            })*
        }
    };
}
use on_every_store;
