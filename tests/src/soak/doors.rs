//! The ways into the hosts that clients may take.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use rand::Rng as _;
use rand::rngs::StdRng;

/// Addresses of the hosts themselves, and of proxies before them.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<Vec<SocketAddr>>);

impl Doors {
    /// These from now on.
    pub(super) fn are(&self, addresses: Vec<SocketAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Any one.
    pub(super) fn draw(&self, random: &mut StdRng) -> Option<SocketAddr> {
        let doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if doors.is_empty() { None } else { doors.get(random.random_range(0..doors.len())).copied() }
    }
}
