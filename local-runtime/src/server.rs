//! The HTTP server: routes requests to components, and reuses their instances as Spin does.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use wasmtime::component::{GuestTaskId, Linker, ResourceTable};
use wasmtime::{Engine, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ProxyHandler, ShouldAccept, WorkerExpiration, WorkerState,
    WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings;
use crate::key_value::{HasKeyValue, KeyValue, KeyValueView};
use crate::outbound::{Hooks, Outbound};
use crate::stats::{Caller, Stats};

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
    key_value: KeyValue,
    variables: Arc<BTreeMap<String, String>>,
    /// The names of requests that tests follow.
    requests: HashMap<GuestTaskId, Arc<str>>,
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

fn key_value(state: &mut State) -> KeyValueView<'_> {
    KeyValueView {
        context: &mut state.key_value,
        table: &mut state.table,
        requests: &state.requests,
    }
}

mod variables {
    //! `spin:variables@3.0.0`.

    use wasmtime::component::{Accessor, HasData};

    use super::State;
    use crate::bindings::spin::variables::variables::{Error, Host, HostWithStore};

    pub struct HasVariables;

    impl HasData for HasVariables {
        type Data<'a> = &'a mut State;
    }

    impl Host for State {}

    impl HostWithStore<State> for HasVariables {
        async fn get(
            accessor: &Accessor<State, Self>,
            name: String,
        ) -> wasmtime::Result<Result<String, Error>> {
            let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if !valid {
                return Ok(Err(Error::InvalidName(name)));
            }
            let value = accessor.with(|mut access| access.get().variables.get(&name).cloned());
            Ok(value.ok_or_else(|| Error::Undefined(format!("no variable for \"{name}\""))))
        }
    }
}

/// What every instance of one component starts from.
pub struct Template {
    pre: ServicePre<State>,
    key_value: KeyValue,
    variables: Arc<BTreeMap<String, String>>,
    outbound: Arc<Outbound>,
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
        key_value: KeyValue,
        variables: BTreeMap<String, String>,
        outbound: Arc<Outbound>,
    ) -> anyhow::Result<Self> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        bindings::spin::key_value::key_value::add_to_linker::<_, HasKeyValue>(
            &mut linker,
            self::key_value,
        )?;
        bindings::spin::variables::variables::add_to_linker::<_, variables::HasVariables>(
            &mut linker,
            |state| state,
        )?;
        let component = compiled(engine, source)?;
        let pre = linker
            .instantiate_pre(&component)
            .and_then(ServicePre::new)
            .map_err(|error| anyhow::anyhow!("{} does not fit Spin: {error}", source.display()))?;
        Ok(Self {
            pre,
            key_value,
            variables: Arc::new(variables),
            outbound,
        })
    }
}

/// The settings of Wasmtime that matter here. With `perf_map` it tells `perf` which function of the
/// component is where, in `/tmp/perf-PID.map`.
///
/// # Errors
///
/// When Wasmtime does not run on this machine.
pub fn engine(perf_map: bool) -> anyhow::Result<Engine> {
    let mut config = wasmtime::Config::new();
    if perf_map {
        config.profiler(wasmtime::ProfilingStrategy::PerfMap);
    }
    config.wasm_component_model_async(true);
    // Instances come and go with the load, as on Spin: taking them from a pool costs microseconds.
    let mut pool = wasmtime::PoolingAllocationConfig::default();
    pool.total_memories(1000)
        .total_core_instances(4000)
        .total_component_instances(1000)
        .total_stacks(1000)
        .total_tables(2000)
        .table_elements(100_000);
    config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

/// Compiles, and keeps the result beside the wasm under a name that holds the hash of the wasm and
/// of this Wasmtime's settings: the next start takes milliseconds.
fn compiled(engine: &Engine, source: &Path) -> anyhow::Result<wasmtime::component::Component> {
    let wasm = std::fs::read(source)
        .with_context(|| format!("cannot read {} (run `cargo xtask build`)", source.display()))?;
    let mut hash = Sha256::new();
    hash.update(&wasm);
    let mut settings = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut settings);
    hash.update(std::hash::Hasher::finish(&settings).to_le_bytes());
    let name = base16ct::lower::encode_string(&hash.finalize()[..12]);
    let kept = source.with_file_name(format!("{name}.cwasm"));
    if kept.exists() {
        // SAFETY: the file is one that `precompile_component` wrote in our own build folder; who
        // can write there can replace this program as well.
        #[allow(unsafe_code)]
        let component = unsafe { wasmtime::component::Component::deserialize_file(engine, &kept) };
        if let Ok(component) = component {
            return Ok(component);
        }
    }
    let code = engine
        .precompile_component(&wasm)
        .map_err(|error| anyhow::anyhow!("{} is not a component: {error}", source.display()))?;
    let partial = source.with_file_name(format!("{name}.{}.partial", std::process::id()));
    std::fs::write(&partial, &code)?;
    std::fs::rename(&partial, &kept)?;
    // SAFETY: `code` comes from `precompile_component` of the same engine.
    #[allow(unsafe_code)]
    let component = unsafe { wasmtime::component::Component::deserialize(engine, &code) };
    Ok(component?)
}

impl HandlerState for Template {
    type StoreData = State;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<State, Expiration, Worker>> {
        let state = State {
            wasi: WasiCtxBuilder::new()
                .inherit_stdout()
                .inherit_stderr()
                .build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks(self.outbound.clone()),
            table: ResourceTable::new(),
            key_value: self.key_value.clone(),
            variables: self.variables.clone(),
            requests: HashMap::new(),
        };
        let mut store = Store::new(self.pre.engine(), state);
        let service = self.pre.instantiate_async(&mut store).await?;
        self.key_value.stats.instance_started();
        Ok(Instance {
            store,
            proxy: Proxy::P3(service),
            view: State::http,
            expiration: Expiration(Box::pin(tokio::time::sleep(IDLE_INSTANCE))),
            state: Worker(self.key_value.stats.clone()),
        })
    }
}

/// When an instance ends: after a second without work. Requests have no time limit, as on Spin.
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

/// The application: its routes and their components.
pub struct Server {
    /// Routes, the longest first.
    routes: Vec<(Route, ProxyHandler<Template>)>,
    in_flight: AtomicUsize,
    stats: Arc<Stats>,
}

enum Route {
    Exact(String),
    /// `prefix` of `/prefix/...`, which leads to `/prefix` and all below.
    Below(String),
}

impl Route {
    fn parse(route: &str) -> Self {
        match route.strip_suffix("/...") {
            Some(prefix) => Self::Below(prefix.trim_matches('/').to_owned()),
            None => Self::Exact(route.trim_matches('/').to_owned()),
        }
    }

    /// Slashes at either end of the path do not count.
    fn matches(&self, path: &str) -> bool {
        let path = path.trim_matches('/');
        match self {
            Self::Exact(route) => path == route,
            Self::Below(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/')),
        }
    }

    fn weight(&self) -> (usize, bool) {
        match self {
            Self::Exact(route) => (route.len(), true),
            Self::Below(prefix) => (prefix.len(), false),
        }
    }
}

impl Server {
    /// An application with these routes.
    pub fn new(routes: Vec<(String, ProxyHandler<Template>)>, stats: Arc<Stats>) -> Self {
        let mut routes: Vec<_> = routes
            .into_iter()
            .map(|(route, handler)| (Route::parse(&route), handler))
            .collect();
        routes.sort_by_key(|(route, _)| std::cmp::Reverse(route.weight()));
        Self {
            routes,
            in_flight: AtomicUsize::new(0),
            stats,
        }
    }

    /// Serves until `stop` is ready, then lets running requests and the tasks of instances end,
    /// for five seconds at most.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tokio::spawn(self.clone().connection(stream));
                    }
                    // Out of file descriptors, for one: it passes.
                    Err(error) => {
                        eprintln!("accept: {error}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
        drop(listener);
        let give_up = Instant::now() + Duration::from_secs(5);
        while Instant::now() < give_up
            && (self.in_flight.load(Ordering::SeqCst) > 0 || self.stats.live_instances() > 0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let service = service_fn(move |request| {
            let server = self.clone();
            async move { server.answer(request).await }
        });
        // A client that hangs up is no trouble of ours.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// # Errors
    ///
    /// When nobody can tell which host the request is for: as on Spin, the connection is closed.
    async fn answer(&self, mut request: Request<Incoming>) -> anyhow::Result<Response<WasiBody>> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let _ends = Ends(&self.in_flight);
        let path = request.uri().path();
        match path.strip_prefix("/.well-known/spin/") {
            Some("health") => return Ok(plain(StatusCode::OK, "OK")),
            Some(_) => return Ok(plain(StatusCode::NOT_FOUND, "")),
            None => {}
        }
        let Some((_, handler)) = self.routes.iter().find(|(route, _)| route.matches(path)) else {
            return Ok(plain(StatusCode::NOT_FOUND, ""));
        };
        let name = request.headers_mut().remove(Caller::HEADER);
        let name: Option<Arc<str>> = name.and_then(|name| name.to_str().ok().map(Arc::from));
        if let Some(name) = &name {
            self.stats.follow(name);
        }
        let request = as_spin_hands_it_over(request).context("the host is missing or malformed")?;
        let answered = handler.handle(name.clone(), request).await;
        if let Some(name) = &name {
            self.stats.responded(name);
        }
        match answered {
            Ok(response) => Ok(response),
            Err(error) => {
                eprintln!("A request failed: {error:?}");
                Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, ""))
            }
        }
    }
}

struct Ends<'a>(&'a AtomicUsize);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// With an absolute URI from the `Host` header, and without the headers that a guest must not see.
fn as_spin_hands_it_over(request: Request<Incoming>) -> Option<Request<WasiBody>> {
    let (mut parts, body) = request.into_parts();
    let host = parts.headers.remove(http::header::HOST);
    let host: Option<Authority> = match host {
        Some(host) => Some(host.to_str().ok()?.parse().ok()?),
        None => None,
    };
    let mut uri = parts.uri.into_parts();
    let authority = match (host, uri.authority.take()) {
        (Some(host), Some(authority)) if host != authority => return None,
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => return None,
    };
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    parts.uri = Uri::from_parts(uri).ok()?;
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        parts.headers.remove(name);
    }
    let body = body.map_err(wasmtime_wasi_http::Error::from).boxed_unsync();
    Some(Request::from_parts(parts, body))
}

fn plain(status: StatusCode, body: &'static str) -> Response<WasiBody> {
    let body: WasiBody = if body.is_empty() {
        Empty::<Bytes>::new()
            .map_err(|never| match never {})
            .boxed_unsync()
    } else {
        Full::from(body)
            .map_err(|never| match never {})
            .boxed_unsync()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_match_as_in_spin() {
        assert!(Route::parse("/...").matches("/"));
        assert!(Route::parse("/...").matches("/a/b"));
        assert!(Route::parse("/docs/...").matches("/docs"));
        assert!(Route::parse("/docs/...").matches("/docs/x"));
        assert!(!Route::parse("/docs/...").matches("/docsx"));
        assert!(Route::parse("/a").matches("/a"));
        assert!(Route::parse("/a").matches("/a/"));
        assert!(!Route::parse("/a").matches("/a/b"));
    }
}
