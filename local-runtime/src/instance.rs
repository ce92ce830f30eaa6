//! Instances of a component: what each starts with, and how long it lives. They are reused as by Spin.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wasmtime::component::{GuestTaskId, Linker, ResourceTable};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::spin;
use crate::calls;
use crate::clock::GuestClock;
use crate::engine::compiled;
use crate::instruments::Instruments;
use crate::key_value::KeyValue;
use crate::outbound::{Hooks, Outbound};
use crate::postgres::Postgres;
use crate::sqlite::Sqlite;
use crate::stats::{Call, Stats};
use crate::variables::Variables;
use crate::view::{Has, View};

/// Spin's `DEFAULT_WASIP3_MAX_INSTANCE_REUSE_COUNT`.
const REQUESTS_PER_INSTANCE: usize = 128;

/// Spin's `DEFAULT_WASIP3_MAX_INSTANCE_CONCURRENT_REUSE_COUNT`.
const CONCURRENT_REQUESTS_PER_INSTANCE: usize = 16;

/// Spin's `DEFAULT_IDLE_INSTANCE_TIMEOUT`.
const IDLE_INSTANCE: Duration = Duration::from_secs(1);

/// What one instance of a component holds.
pub struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    table: ResourceTable,
    imports: Imports,
    /// The names of requests that tests follow.
    requests: HashMap<GuestTaskId, Arc<str>>,
    stats: Arc<Stats>,
}

impl State {
    /// Whether no test follows any of its requests.
    pub(crate) fn follows_nobody(&self) -> bool {
        self.requests.is_empty()
    }

    /// Notes a call of the request that has this task, if it is followed.
    pub(crate) fn note(&self, task: GuestTaskId, call: Call) {
        if let Some(name) = self.requests.get(&task) {
            self.stats.call(call, name);
        }
    }

    /// Its resources.
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

/// What Spin's interfaces start with in each instance of one component.
#[derive(Clone)]
pub struct Imports {
    /// Its key-value stores.
    pub key_value: KeyValue,
    /// The PostgreSQL servers that it may connect to.
    pub postgres: Postgres,
    /// Its SQLite databases.
    pub sqlite: Sqlite,
    /// Its variables.
    pub variables: Variables,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// A function that shows an interface its part of an instance.
macro_rules! view {
    ($context:ident) => {
        |state: &mut State| View {
            context: &mut state.imports.$context,
            table: &mut state.table,
            requests: &state.requests,
        }
    };
}

/// What every instance of one component starts from.
pub struct Template {
    pre: ServicePre<State>,
    imports: Imports,
    outbound: Arc<Outbound>,
    instruments: Instruments,
}

impl Template {
    /// Compiles the component, or takes it from where it was kept when it was compiled before.
    ///
    /// # Errors
    ///
    /// When it is not there, not a component, or imports what Spin does not offer.
    pub fn new(
        engine: &Engine,
        source: &Path,
        imports: Imports,
        outbound: Arc<Outbound>,
        instruments: Instruments,
    ) -> anyhow::Result<Self> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        calls::count(&mut linker)?;
        spin::key_value::key_value::add_to_linker::<_, Has<KeyValue>>(
            &mut linker,
            view!(key_value),
        )?;
        spin::postgres::postgres::add_to_linker::<_, Has<Postgres>>(&mut linker, view!(postgres))?;
        spin::sqlite::sqlite::add_to_linker::<_, Has<Sqlite>>(&mut linker, view!(sqlite))?;
        spin::variables::variables::add_to_linker::<_, Has<Variables>>(
            &mut linker,
            view!(variables),
        )?;
        let component = compiled(engine, source)?;
        let pre = linker
            .instantiate_pre(&component)
            .and_then(ServicePre::new)
            .map_err(|error| anyhow::anyhow!("{} does not fit Spin: {error}", source.display()))?;
        Ok(Self {
            pre,
            imports,
            outbound,
            instruments,
        })
    }
}

impl HandlerState for Template {
    type StoreData = State;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<State, Expiration, Worker>> {
        let Instruments { stats, clock, .. } = &self.instruments;
        let clock = GuestClock(clock.clone());
        let state = State {
            wasi: WasiCtxBuilder::new()
                .inherit_stdout()
                .inherit_stderr()
                .wall_clock(clock.clone())
                .monotonic_clock(clock)
                .build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks(self.outbound.clone()),
            table: ResourceTable::new(),
            imports: self.imports.clone(),
            requests: HashMap::new(),
            stats: stats.clone(),
        };
        let mut store = Store::new(self.pre.engine(), state);
        let service = self.pre.instantiate_async(&mut store).await?;
        stats.instance_started();
        Ok(Instance {
            store,
            proxy: Proxy::P3(service),
            view: State::http,
            expiration: Expiration(Box::pin(tokio::time::sleep(IDLE_INSTANCE))),
            state: Worker(stats.clone()),
        })
    }
}

/// When an instance ends: after a second without work. As on Spin neither requests nor the tasks that
/// they leave behind have a time limit.
pub struct Expiration(Pin<Box<tokio::time::Sleep>>);

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        match status {
            WorkerStatus::Requests | WorkerStatus::PostReturn => Poll::Pending,
            WorkerStatus::Idle => {
                let deadline = (start + IDLE_INSTANCE).into();
                if self.0.deadline() != deadline {
                    self.0.as_mut().reset(deadline);
                }
                self.0.as_mut().poll(context)
            }
        }
    }
}

/// Which requests an instance takes.
pub struct Worker(Arc<Stats>);

impl WorkerState for Worker {
    type StoreData = State;
    type RequestData = Option<Arc<str>>;

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= REQUESTS_PER_INSTANCE {
            ShouldAccept::Never
        } else if concurrent >= CONCURRENT_REQUESTS_PER_INSTANCE {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        mut store: StoreContextMut<'_, State>,
        name: Option<Arc<str>>,
        task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        let requests = &mut store.data_mut().requests;
        match name {
            Some(name) => requests.insert(task, name),
            // The task's number may have been another's before.
            None => requests.remove(&task),
        };
        Box::pin(std::future::pending())
    }

    fn drop(&self, store: Store<State>, result: Result<(), wasmtime::Error>) {
        if let Err(error) = result {
            eprintln!("An instance failed: {error:?}");
        }
        drop(store);
        self.0.instance_ended();
    }
}
