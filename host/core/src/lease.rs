//! Who owns the partition: the rules by which a store grants, renews and takes away a lease.

use crate::position::Token;

/// The lease as a store holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// Raised at every grant; 0 in an empty store.
    pub epoch: u64,
    /// What every script compares.
    pub token: Token,
    /// The host that holds it; empty when nobody does.
    pub holder: String,
    /// Until when it holds, in milliseconds of the store's own clock.
    pub until_ms: u64,
}

impl Lease {
    /// May this host have it now? Its own lease it takes back at once (a restart with the same identity).
    #[must_use]
    pub fn grantable(&self, host: &str, now_ms: u64) -> bool {
        self.holder.is_empty() || self.holder == host || self.until_ms <= now_ms
    }

    /// Grants it: a new epoch and a new token, so that whatever the former holder still sends is refused.
    pub fn grant(&mut self, host: &str, token: Token, now_ms: u64, lease_ms: u64) {
        self.epoch += 1;
        self.token = token;
        self.holder = host.to_owned();
        self.until_ms = now_ms + lease_ms;
    }

    /// Renews it, if the token is still the stored one.
    pub fn renew(&mut self, token: Token, now_ms: u64, lease_ms: u64) -> bool {
        let own = self.token == token && !self.holder.is_empty();
        if own {
            self.until_ms = now_ms + lease_ms;
        }
        own
    }

    /// Gives it back, so that another host need not wait.
    pub fn release(&mut self, token: Token) {
        if self.token == token {
            self.holder.clear();
            self.until_ms = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_granted_to_one_host_until_it_ends() {
        let mut lease = Lease::default();
        assert!(lease.grantable("a", 0));
        lease.grant("a", Token(1), 0, 5_000);
        assert!(!lease.grantable("b", 4_999));
        assert!(lease.grantable("b", 5_000));
        assert!(lease.grantable("a", 1), "a restarted host takes its own lease back at once");
        assert!(lease.renew(Token(1), 4_000, 5_000));
        assert!(!lease.grantable("b", 8_999));
    }

    #[test]
    fn a_sleeper_can_not_renew_what_another_holds() {
        let mut lease = Lease::default();
        lease.grant("a", Token(1), 0, 5_000);
        lease.grant("b", Token(2), 6_000, 5_000);
        assert!(!lease.renew(Token(1), 6_001, 5_000));
        lease.release(Token(1));
        assert_eq!(lease.holder, "b");
        lease.release(Token(2));
        assert!(lease.grantable("a", 6_002));
        assert!(!lease.renew(Token(2), 6_003, 5_000), "released is released");
    }
}
