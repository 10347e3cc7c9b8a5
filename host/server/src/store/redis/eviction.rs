//! What Redis evicted: said with a floor where one can say it; otherwise the store begins anew.

use super::RedisStore;
use super::link::Call;
use crate::store::{StoreError, text};
use tidegate_core::commit::Page;
use tidegate_core::event::Company;
use tidegate_core::gap::{Floor, GapReason};
use tidegate_core::position::{Place, Position};

impl RedisStore {
    /// Says with a floor that Redis evicted a company's replay, or its head.
    pub(super) async fn mend(&self, company: &Company, floor: &Floor) -> Result<(), StoreError> {
        let call = self
            .bookkeeping()
            .key(self.keys.company(company))
            .key(self.keys.stream(company))
            .key(self.keys.state(company))
            .text(company.as_str())
            .text(text::floor(floor));
        if self.link.run(&self.link.scripts.mend, call).await?.number::<u8>()? == 1 {
            tracing::error!(
                company = company.as_str(),
                "Redis evicted the company's replay: each client that missed some of it is told with a gap; \
                 set maxmemory-policy to noeviction and give Redis more memory"
            );
        }
        Ok(())
    }

    /// Waiting inputs or state of a company seem to be gone: ends the life of the store if that is so.
    pub(super) async fn lost(&self, company: &Company, what: &str) -> StoreError {
        let again = || StoreError::Away(format!("the {what} of {company} may have been evicted; it is read again"));
        self.give_up(Some(company)).await.map_or_else(|error| error, |()| again())
    }

    /// Ends the life of a store that Redis took more from than a floor can say: of its bookkeeping, or of this company.
    /// Its owner finds it out and fills it again. Looks again first.
    pub(super) async fn give_up(&self, company: Option<&Company>) -> Result<(), StoreError> {
        let name = company.map_or("", Company::as_str);
        let call = company.map_or_else(|| self.bookkeeping(), |company| self.all_of(company));
        let what = self.link.run(&self.link.scripts.lost, call.text(name)).await?.text()?;
        if !what.is_empty() {
            tracing::error!(
                company = name,
                what,
                "Redis evicted what no floor can say: the store begins anew and is filled again; \
                 set maxmemory-policy to noeviction and give Redis more memory"
            );
        }
        Ok(())
    }

    /// The keys in which eviction of anything else shows, in the order of `missing.lua`.
    pub(super) fn bookkeeping(&self) -> Call {
        let keys = &self.keys;
        Call::default().key(&keys.head).key(&keys.companies).key(&keys.waiting).key(&keys.states).key(&keys.generations)
    }

    /// Those and what of a company no floor can say.
    pub(super) fn all_of(&self, company: &Company) -> Call {
        let keys = &self.keys;
        self.bookkeeping().key(keys.company(company)).key(keys.backlog(company)).key(keys.state(company))
    }

    /// Says with floors what Redis evicted of these companies.
    pub(super) async fn mend_each(&self, companies: &[Company]) -> Result<(), StoreError> {
        for company in companies {
            self.read_page(company, Position::default(), 0).await?;
        }
        Ok(())
    }
}

/// The floor of a company whose replay was evicted: its last entry, with that one's time; where its head is gone, too, all up to
/// the place of the page, and nobody knows how many there were.
pub(super) fn store_lost(top: Option<(Position, u64)>, page: &Page) -> Floor {
    let reason = GapReason::StoreLost;
    match top {
        Some((position, time_ms)) => Floor { position, time_ms, reason, running: Some(page.running) },
        None => {
            let Place { generation, sequence, time_ms } = page.place.unwrap_or_default();
            Floor { position: Position::whole(generation, sequence), time_ms, reason, running: None }
        }
    }
}
