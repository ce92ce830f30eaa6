//! What the tests stand on: servers, requests, tokens, the store behind the service, faults.

pub mod application;
pub mod authority;
pub mod client;
pub mod contract;
pub mod faults;
#[allow(
    dead_code,
    reason = "the local runtime's tests share it, and need other parts of it"
)]
pub mod postgres;
pub mod provider;
pub mod raw;
pub mod receiver;
pub mod report;
pub mod server;
pub mod store;
pub mod tokens;

use std::cell::Cell;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit};

pub use application::Application;
pub use authority::Authority;
pub use client::{Created, Request, Response};
pub use postgres::Postgres;
pub use receiver::Receiver;
pub use server::{Server, Setup, bulk, custom, delivering, dispatching, short_deadline, standard};

/// How long anything may take before a test gives up. Far more than it takes: a machine may be
/// busy with other things, and a deadline of the contract is asserted where it matters.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is `Some`.
///
/// # Panics
///
/// When it is still `None` after `limit`.
pub async fn poll<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(since.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

static MACHINE: RwLock<()> = RwLock::const_new(());

/// Who holds [`exclusive`], as its test's thread.
static ALONE: (Mutex<Option<ThreadId>>, Condvar) = (Mutex::new(None), Condvar::new());

/// How many tests are [`busy`] at a time: as many as there are cores.
static CORES: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Semaphore::new(cores)
});

/// For a test of the contract's times: while it is held, no test runs that is [`busy`], and none begins.
pub async fn exclusive() -> Exclusive {
    let machine = MACHINE.write().await;
    *alone() = Some(std::thread::current().id());
    Exclusive { _machine: machine }
}

/// For a test that keeps the machine busy: other programs, many servers, many requests at once.
pub async fn busy() -> Busy {
    let core = CORES.acquire().await.expect("it is never closed");
    Busy {
        _machine: MACHINE.read().await,
        _core: core,
    }
}

/// A test begins: with the first server that it names. It waits until nobody is [`exclusive`].
pub fn begin() {
    thread_local! {
        static BEGUN: Cell<bool> = const { Cell::new(false) };
    }
    // libtest gives each test a thread.
    if !BEGUN.replace(true) {
        let this = std::thread::current().id();
        let others = |alone: &mut Option<ThreadId>| alone.is_some_and(|holder| holder != this);
        let waited = ALONE.1.wait_while(alone(), others);
        drop(waited.unwrap_or_else(|e| e.into_inner()));
    }
}

fn alone() -> MutexGuard<'static, Option<ThreadId>> {
    ALONE.0.lock().unwrap_or_else(|e| e.into_inner())
}

/// See [`exclusive`].
pub struct Exclusive {
    _machine: RwLockWriteGuard<'static, ()>,
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        *alone() = None;
        ALONE.1.notify_all();
    }
}

/// See [`busy`].
pub struct Busy {
    _machine: RwLockReadGuard<'static, ()>,
    _core: SemaphorePermit<'static>,
}

/// A text that occurs nowhere else.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

/// The Python interpreter that has the modules which tests import.
pub fn python() -> String {
    let configured = std::env::var("WEBHOOKS_PYTHON").ok();
    let configured = configured.filter(|python| !python.is_empty());
    configured.unwrap_or_else(|| "python3".to_owned())
}

/// Ends a test that needs the local runtime when the suite runs against Spin, and reports it.
macro_rules! local_runtime_only {
    () => {
        if crate::support::server::on_spin() {
            fn here() {}
            let name = std::any::type_name_of_val(&here);
            crate::support::report::not_applicable_on_spin(name);
            return;
        }
    };
}
pub(crate) use local_runtime_only;

/// The server that tests on PostgreSQL share; where it is not installed, ends the test and reports it.
macro_rules! postgres_server {
    () => {
        match crate::support::Postgres::shared() {
            Some(postgres) => postgres,
            None => {
                fn here() {}
                crate::support::report::server_missing(std::any::type_name_of_val(&here));
                return;
            }
        }
    };
}
pub(crate) use postgres_server;
