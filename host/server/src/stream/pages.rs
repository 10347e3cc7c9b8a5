//! Pages of a replay: each is read and encoded once for all connections of the company that need it at about that time.

use super::Streams;
use crate::hub::{Found, Live, PageRead};
use crate::store::StoreError;
use futures_util::FutureExt as _;
use std::sync::Arc;
use tidegate_core::limits::PAGE_ENTRIES;
use tidegate_core::page::{EncodedPage, Reading};
use tidegate_core::pages::Need;
use tidegate_core::position::Position;

/// A page for a connection: one that is kept, one that is being read for another, or one of its own.
///
/// # Errors
/// The store could not be asked.
pub async fn page(streams: &Arc<Streams>, live: &Arc<Live>, need: Need) -> Result<Arc<EncodedPage>, StoreError> {
    let mut need = need;
    loop {
        // What can't be kept is read again for its next piece: then better little at a time.
        let entries = if live.has_room() { PAGE_ENTRIES } else { PAGE_ENTRIES / 16 };
        let begin = |above, reading| begin(streams, live, above, reading, entries);
        let (read, own) = match live.look(&need, entries, begin) {
            Found::Page(page) => {
                streams.metrics.replay_page_shared();
                return Ok(page);
            }
            Found::Read(read) => (read, false),
            Found::Begun(read) => (read, true),
        };
        let page = read.await?;
        if page.reading().number > need.placed.max(need.told) && page.reaches(need.above) {
            if !own {
                streams.metrics.replay_page_shared();
            }
            return Ok(page);
        }
        // Where others begin did not lead to where it stands.
        need.begins = false;
    }
}

/// A reading that goes on for as long as anybody waits for it.
fn begin(streams: &Arc<Streams>, live: &Arc<Live>, above: Position, reading: Reading, entries: usize) -> PageRead {
    let under_way = UnderWay { live: Arc::clone(live), number: reading.number };
    let streams = Arc::clone(streams);
    let read = async move {
        let company = under_way.live.company();
        streams.metrics.replay_page_read();
        let page = streams.store.page(company, above, entries).await?;
        let page = Arc::new(EncodedPage::new(above, reading, streams.with_lost_state(company, page)));
        under_way.live.read_ended(reading.number, Some(&page));
        Ok(page)
    };
    read.boxed().shared()
}

/// Takes a reading off the list however it ends.
struct UnderWay {
    live: Arc<Live>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.live.read_ended(self.number, None);
    }
}
