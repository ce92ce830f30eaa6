//! The HTTP server: takes requests to the components that their paths lead to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::ProxyHandler;

use crate::instance::Template;
use crate::routes::Routes;
use crate::stats::{Caller, Stats};

/// How long requests and tasks may go on when the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// The application: its routes and their components.
pub struct Server {
    routes: Routes<ProxyHandler<Template>>,
    in_flight: AtomicUsize,
    stats: Arc<Stats>,
}

impl Server {
    /// An application with these routes.
    pub fn new(routes: Routes<ProxyHandler<Template>>, stats: Arc<Stats>) -> Self {
        Self {
            routes,
            in_flight: AtomicUsize::new(0),
            stats,
        }
    }

    /// Takes connections until `stop` is ready. What runs then goes on.
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
    }

    /// Lets running requests and the tasks of instances end, for five seconds at most.
    pub async fn drain(&self) {
        let give_up = Instant::now() + DRAIN;
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
        let Some(handler) = self.routes.find(path) else {
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
