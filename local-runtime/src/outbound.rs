//! The component's outbound HTTP, by the client that Spin has too: only to allowed hosts, never into
//! blocked networks, and over kept connections unless the runtime config says otherwise.

mod connector;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

pub use self::connector::mozilla_roots;
use self::connector::{
    CONNECT_TIMEOUT, ConnectError, Connector, DEFAULT_TIMEOUT, default_port, without_brackets,
};
use crate::allowed_hosts::AllowedHosts;
use crate::faults::{Struck, When};
use crate::instruments::Instruments;
use crate::manifest::Component;
use crate::runtime_config::RuntimeConfig;
use crate::stats::{Caller, Ongoing, Stats};

/// The host that Spin takes for the application itself, whatever the scheme and the port.
const SELF: &str = "self.alt";

/// Where a component may connect to, and how.
pub struct Outbound {
    allowed: Arc<AllowedHosts>,
    client: Client<Connector, WasiBody>,
    /// Where [`SELF`] leads.
    own: SocketAddr,
    instruments: Instruments,
}

impl Outbound {
    /// What the manifest, the runtime config and `--resolve` allow the component of an application
    /// that listens on `own`.
    ///
    /// # Errors
    ///
    /// One line that names the malformed setting.
    pub fn new(
        component: &Component,
        allowed: Arc<AllowedHosts>,
        config: &RuntimeConfig,
        resolve: HashMap<String, IpAddr>,
        own: SocketAddr,
        instruments: Instruments,
    ) -> anyhow::Result<Self> {
        let connector = Connector::new(component, config, resolve)?;
        let mut client = Client::builder(TokioExecutor::new());
        if !config.outbound_http.connection_pooling {
            client.pool_max_idle_per_host(0);
        }
        Ok(Self {
            allowed,
            client: client.build(connector),
            own,
            instruments,
        })
    }

    async fn send(
        &self,
        mut request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Response<WasiBody>, Error> {
        let uri = request.uri();
        let scheme = uri.scheme_str().ok_or(Error::HttpRequestUriInvalid)?;
        let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
        let to_self = host == SELF;
        let allowed = if to_self {
            self.allowed.allow_self()
        } else {
            let port = uri.port_u16().unwrap_or(default_port(uri));
            self.allowed.allow(scheme, without_brackets(host), port)
        };
        if !allowed {
            eprintln!(
                "A component tried to make an outbound request to a host that is not in its `allowed_outbound_hosts`."
            );
            return Err(Error::HttpRequestDenied);
        }
        if to_self {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            *request.uri_mut() = format!("http://{}{path}", self.own)
                .parse()
                .map_err(|_| Error::HttpRequestUriInvalid)?;
        }
        // The client takes it from the URI.
        request.headers_mut().remove(HOST);

        let connect_timeout = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let first_byte = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let between_bytes = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let response = CONNECT_TIMEOUT.scope(connect_timeout, self.client.request(request));
        let response = timeout(first_byte, response)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)?
            .map_err(|error| failure(&error))?;
        Ok(response.map(|body| {
            TimedBody {
                body,
                between_bytes,
                sleep: Box::pin(tokio::time::sleep(between_bytes)),
            }
            .boxed_unsync()
        }))
    }
}

/// The error that a component gets when its request fails before there is a response.
fn failure(error: &legacy::Error) -> Error {
    let cause = std::error::Error::source(error);
    match cause.and_then(|cause| cause.downcast_ref::<ConnectError>()) {
        Some(ConnectError::Dns(reason)) => Error::DnsError {
            rcode: Some((*reason).to_owned()),
            info_code: Some(0),
        },
        Some(ConnectError::Prohibited) => Error::DestinationIpProhibited,
        Some(ConnectError::Refused) => Error::ConnectionRefused,
        Some(ConnectError::Timeout) => Error::ConnectionTimeout,
        Some(ConnectError::Tls) => Error::TlsProtocolError,
        None => Error::HttpProtocolError,
    }
}

/// A response body whose pauses are bounded.
struct TimedBody {
    body: Incoming,
    between_bytes: Duration,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let next = tokio::time::Instant::now() + self.between_bytes;
            self.sleep.as_mut().reset(next);
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| Error::HttpProtocolError)));
        }
        match self.sleep.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Error::ConnectionReadTimeout))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The part of an instance that its outbound requests go through.
pub struct Hooks(pub Arc<Outbound>);

/// A request of a request that is followed: all of it is noted before it is sent.
async fn recorded(
    request: Request<WasiBody>,
    stats: &Stats,
    ongoing: Option<&Ongoing>,
) -> Result<Request<WasiBody>, Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let headers = head.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let detail = json!({
        "method": head.method.as_str(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    stats.detail(ongoing, detail);
    let body = Full::new(body).map_err(|never| match never {});
    Ok(Request::from_parts(head, body.boxed_unsync()))
}

type Sent = Result<
    (
        Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let outbound = self.0.clone();
        Box::new(async move {
            let url = request.uri().to_string();
            let Instruments { faults, stats, .. } = &outbound.instruments;
            let ongoing = stats.operation("http", &url, Caller(None));
            let request = match &ongoing {
                Some(_) => recorded(request, stats, ongoing.as_ref()).await?,
                None => request,
            };
            let failed = || Error::InternalError(Some("injected fault".to_owned()));
            let fault = faults.strike("http", &url, Caller(None));
            if let Some(fault) = &fault
                && !matches!(fault.act(When::Before).await, Struck::GoOn)
            {
                stats.ended(ongoing, None);
                return Err(failed());
            }
            let response = outbound.send(request, options.unwrap_or_default()).await;
            stats.ended(ongoing, None);
            let response = response?;
            if let Some(fault) = &fault
                && !matches!(fault.act(When::After).await, Struck::GoOn)
            {
                return Err(failed());
            }
            Ok((
                response,
                Box::new(async { Ok(()) }) as Box<dyn Future<Output = _> + Send>,
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A component that may connect anywhere, with this runtime config, on `own`; the name and the
    /// address `::1` lead to 127.0.0.1.
    fn outbound(config: &str, own: SocketAddr) -> Outbound {
        let component = Component {
            id: "a".to_owned(),
            source: std::path::PathBuf::new(),
            key_value_stores: Vec::new(),
            sqlite_databases: Vec::new(),
            allowed_outbound_hosts: vec!["*://*:*".to_owned()],
            variables: std::collections::BTreeMap::new(),
        };
        let allowed = AllowedHosts::parse(&component.allowed_outbound_hosts).unwrap();
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let resolve = ["hooks.example.com", "::1"].map(|host| (host.to_owned(), loopback));
        let config = toml::from_str(config).unwrap();
        Outbound::new(
            &component,
            Arc::new(allowed),
            &config,
            resolve.into(),
            own,
            Instruments::default(),
        )
        .unwrap()
    }

    fn nowhere() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn get(outbound: &Outbound, url: &str) -> Result<Bytes, Error> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::get(url).body(body).unwrap();
        let response = outbound.send(request, RequestOptions::default()).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    /// Answers every request, and counts the connections.
    async fn endpoint() -> (SocketAddr, Arc<AtomicUsize>) {
        let (listener, address) = listen().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        let _ = stream.write_all(answer).await;
                    }
                });
            }
        });
        (address, connections)
    }

    #[tokio::test]
    async fn connections_are_kept_unless_the_runtime_config_says_otherwise() {
        for (config, kept) in [
            ("", true),
            ("[outbound_http]\nconnection_pooling = true", true),
            ("[outbound_http]\nconnection_pooling = false", false),
            ("[outbound_http]", false),
        ] {
            let (address, connections) = endpoint().await;
            let outbound = outbound(config, nowhere());
            for _ in 0..10 {
                let answer = get(&outbound, &format!("http://{address}/")).await.unwrap();
                assert_eq!(answer, "ok");
                // As long as it takes to keep a connection.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let connections = connections.load(Ordering::SeqCst);
            assert_eq!(connections < 10, kept, "{config}: {connections}");
        }
    }

    /// A trap of Spin: the connection is made, and no TLS handshake is sent.
    #[tokio::test]
    async fn an_ipv6_address_over_https_is_connected_to_and_gets_no_handshake() {
        let (listener, address) = listen().await;
        let outbound = outbound("", nowhere());
        let url = format!("https://[::1]:{}/", address.port());
        let error = get(&outbound, &url).await.unwrap_err();
        assert!(matches!(error, Error::DnsError { .. }), "{error:?}");
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_ipv6_address_over_http_is_reached() {
        let (address, _) = endpoint().await;
        let outbound = outbound("", nowhere());
        let url = format!("http://[::1]:{}/", address.port());
        assert_eq!(get(&outbound, &url).await.unwrap(), "ok");
    }

    /// A trap of Spin: whatever the scheme, the application gets the request.
    #[tokio::test]
    async fn self_alt_is_the_application_itself_unless_its_address_is_blocked() {
        let (own, connections) = endpoint().await;
        let reaching = outbound("", own);
        for url in ["https://self.alt/healthz", "http://self.alt:1/"] {
            assert_eq!(get(&reaching, url).await.unwrap(), "ok", "{url}");
        }
        let before = connections.load(Ordering::SeqCst);
        let blocking = "[outbound_networking]\nblock_networks = [\"private\"]";
        let error = get(&outbound(blocking, own), "https://self.alt/").await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::DestinationIpProhibited), "{error:?}");
        assert_eq!(connections.load(Ordering::SeqCst), before);
    }

    #[tokio::test]
    async fn failures_have_the_codes_that_they_have_on_spin() {
        let outbound = outbound("", nowhere());
        // Nobody listens there any more.
        let (listener, address) = listen().await;
        drop(listener);
        let error = get(&outbound, &format!("http://{address}/")).await;
        assert!(matches!(error, Err(Error::ConnectionRefused)), "{error:?}");
        // Not the language of TLS, and not that of HTTP.
        let (listener, address) = listen().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream
                    .write_all(b"220 mail.example.com ESMTP\r\n\r\n")
                    .await;
                let _ = stream.read(&mut [0; 1024]).await;
            }
        });
        let url = format!("https://hooks.example.com:{}/", address.port());
        let error = get(&outbound, &url).await;
        assert!(matches!(error, Err(Error::TlsProtocolError)), "{error:?}");
        let error = get(&outbound, &format!("http://{address}/")).await;
        assert!(matches!(error, Err(Error::HttpProtocolError)), "{error:?}");
    }
}
