//! A server under measurement: where its streams are, where events go in, and which processes do the work.

mod bare;
mod nchan;
mod tidegate;

use std::net::SocketAddr;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::crowd::Visit;
use crate::payload::company;
use crate::wire::Target;

pub(crate) use bare::Bare;
pub(crate) use nchan::Nchan;
pub(crate) use tidegate::{Filters, Store, Tidegate};

/// Connections that may be on their way to being open at the same time.
const OPENING: u32 = 256;

/// What is measured beside what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The host with JetStream and Redis.
    Tidegate(Filters),
    /// nginx with nchan.
    Nchan,
    /// The bare hyper server.
    Limit,
    /// The server that sends prepared bytes.
    Prepared,
}

/// A running one.
pub(crate) enum Contestant {
    Tidegate(Box<Tidegate>),
    Nchan(Nchan),
    Bare(Bare),
}

impl Contestant {
    /// Starts one for companies.
    ///
    /// # Errors
    /// It isn't installed or doesn't start.
    pub(crate) fn start(kind: Kind, runtime: &Runtime, companies: u32) -> Result<Self> {
        Ok(match kind {
            Kind::Tidegate(filters) => {
                Self::Tidegate(Box::new(Tidegate::start(runtime, filters, Store::Redis, companies)?))
            }
            Kind::Nchan => Self::Nchan(Nchan::start()?),
            Kind::Limit => Self::Bare(Bare::start("limit")?),
            Kind::Prepared => Self::Bare(Bare::start("prepared")?),
        })
    }

    /// Where its streams are.
    ///
    /// # Errors
    /// It doesn't run.
    pub(crate) fn streams(&self) -> Result<SocketAddr> {
        match self {
            Self::Tidegate(tidegate) => tidegate.world.host.http(),
            Self::Nchan(nchan) => Ok(nchan.address),
            Self::Bare(bare) => Ok(bare.address),
        }
    }

    /// Where events go in.
    ///
    /// # Errors
    /// It doesn't run.
    pub(crate) fn target(&self) -> Result<Target> {
        match self {
            Self::Tidegate(tidegate) => Ok(Target::Nats(tidegate.world.nats()?.address())),
            Self::Nchan(nchan) => Ok(Target::Http(nchan.address)),
            Self::Bare(bare) => Ok(Target::Http(bare.address)),
        }
    }

    /// Path of a company's stream.
    pub(crate) fn path(&self, number: u32) -> String {
        let company = company(number);
        match self {
            Self::Tidegate(_) => format!("/stream/updates?companyId={company}"),
            Self::Nchan(_) => format!("/sub/{company}"),
            Self::Bare(_) => format!("/{company}"),
        }
    }

    /// Connections spread over companies, from the number of the next event on.
    ///
    /// # Errors
    /// It doesn't run.
    pub(crate) fn visit(&self, connections: u32, companies: u32, first: u64) -> Result<Visit> {
        Ok(Visit {
            address: self.streams()?,
            targets: (0..companies).map(|number| self.path(number)).collect(),
            header: String::new(),
            connections,
            opening: OPENING,
            first,
            wrap: u64::MAX,
            ids: false,
        })
    }

    /// The processes that serve the streams.
    ///
    /// # Errors
    /// One has ended.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        match self {
            Self::Tidegate(tidegate) => Ok(vec![tidegate.world.host.process()?.id()]),
            Self::Nchan(nchan) => nchan.processes(),
            Self::Bare(bare) => Ok(vec![bare.process.id()]),
        }
    }

    /// The servers that it stands on: NATS and Redis.
    ///
    /// # Errors
    /// One has ended.
    pub(crate) fn beside(&self) -> Result<Vec<u32>> {
        match self {
            Self::Tidegate(tidegate) => {
                Ok(vec![tidegate.world.nats()?.process()?.id(), tidegate.world.redis()?.process()?.id()])
            }
            Self::Nchan(_) | Self::Bare(_) => Ok(Vec::new()),
        }
    }
}
