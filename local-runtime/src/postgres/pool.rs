//! Connections to PostgreSQL: Spin's pool, with its traps.
//!
//! A pool has 64 connections, and who wants another one waits for ever. A connection comes back to it
//! as the guest left it: what recycling sends (`RecyclingMethod::Clean`) does not end a transaction.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

use super::tls::{CaRoot, verifying};

/// Spin's `CONNECTION_POOL_SIZE`.
const POOL_SIZE: usize = 64;

/// Spin's `CONNECTION_POOL_CACHE_CAPACITY`.
const MAX_POOLS: usize = 16;

/// A pooled connection, which the guest has until it drops it.
#[derive(Clone)]
pub struct Client {
    connection: Arc<Object>,
    /// Its part of `[outbound_pg] max_connections`.
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

impl std::ops::Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &tokio_postgres::Client {
        &self.connection
    }
}

/// The limit of `[outbound_pg] max_connections`, which all components share.
#[derive(Clone, Default)]
pub struct Limit(Option<Arc<Semaphore>>);

impl Limit {
    /// At most so many connections; `None` is no limit.
    pub fn new(max_connections: Option<usize>) -> Self {
        Self(max_connections.map(|permits| Arc::new(Semaphore::new(permits))))
    }

    /// Waits, for ever if need be, until there may be one more.
    async fn acquire(&self) -> anyhow::Result<Option<Arc<OwnedSemaphorePermit>>> {
        match &self.0 {
            Some(semaphore) => Ok(Some(Arc::new(semaphore.clone().acquire_owned().await?))),
            None => Ok(None),
        }
    }
}

/// The pools of one component: one for each address and authority.
#[derive(Default)]
pub struct Pools {
    limit: Limit,
    /// The one that was used last comes last.
    pools: Mutex<Vec<(Key, Pool)>>,
}

type Key = (String, Option<CaRoot>);

impl Pools {
    /// No pools yet.
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            pools: Mutex::default(),
        }
    }

    /// A connection to an address, from its pool.
    ///
    /// # Errors
    ///
    /// A malformed address, or a server that does not take the connection.
    pub async fn get(&self, address: &str, ca_root: Option<CaRoot>) -> anyhow::Result<Client> {
        let permit = self.limit.acquire().await?;
        let pool = self
            .pool((address.to_owned(), ca_root))
            .context("establishing PostgreSQL connection pool")?;
        Ok(Client {
            connection: Arc::new(pool.get().await?),
            _permit: permit,
        })
    }

    fn pool(&self, key: Key) -> anyhow::Result<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(|e| e.into_inner());
        let pool = match pools.iter().position(|(known, _)| *known == key) {
            Some(position) => pools.remove(position).1,
            None => connect(&key.0, key.1.as_ref())?,
        };
        if pools.len() >= MAX_POOLS {
            pools.remove(0);
        }
        pools.push((key, pool.clone()));
        Ok(pool)
    }
}

fn connect(address: &str, ca_root: Option<&CaRoot>) -> anyhow::Result<Pool> {
    let config: tokio_postgres::Config = address
        .parse()
        .context("parsing Postgres connection string")?;
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Clean,
    };
    let manager = if config.get_ssl_mode() == SslMode::Disable {
        Manager::from_config(config, NoTls, recycling)
    } else {
        Manager::from_config(config, verifying(ca_root)?, recycling)
    };
    Pool::builder(manager)
        .max_size(POOL_SIZE)
        .build()
        .context("building Postgres connection pool")
}
