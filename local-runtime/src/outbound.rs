//! The component's outbound HTTP, by the client that Spin has too: only to allowed hosts, never into
//! blocked networks, and over kept connections unless the runtime config says otherwise.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::faults::{Faults, Struck, When};
use crate::manifest::Component;
use crate::runtime_config::{BlockedNetworks, RuntimeConfig};
use crate::stats::{Caller, Stats};

/// Spin's default for each of the three timeouts.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The host that Spin takes for the application itself, whatever the scheme and the port.
const SELF: &str = "self.alt";

/// Where a component may connect to, and how.
pub struct Outbound {
    allowed: Vec<AllowedHost>,
    client: Client<Connector, WasiBody>,
    /// Where [`SELF`] leads.
    own: SocketAddr,
    faults: Arc<Faults>,
    stats: Arc<Stats>,
}

impl Outbound {
    /// What the manifest, the runtime config and `--resolve` allow the component of an application
    /// that listens on `own`.
    ///
    /// # Errors
    ///
    /// One line that tells which setting is malformed.
    pub fn new(
        component: &Component,
        config: &RuntimeConfig,
        resolve: HashMap<String, IpAddr>,
        own: SocketAddr,
        faults: Arc<Faults>,
        stats: Arc<Stats>,
    ) -> anyhow::Result<Self> {
        let connector = Connector(Arc::new(Connections {
            blocked: BlockedNetworks::parse(&config.outbound_networking.block_networks)?,
            tls: tls(component, config)?,
            default_tls: client_config(mozilla_roots()),
            resolve,
        }));
        let mut client = Client::builder(TokioExecutor::new());
        if !config.outbound_http.connection_pooling {
            client.pool_max_idle_per_host(0);
        }
        Ok(Self {
            allowed: component
                .allowed_outbound_hosts
                .iter()
                .map(|entry| AllowedHost::parse(entry))
                .collect::<anyhow::Result<_>>()?,
            client: client.build(connector),
            own,
            faults,
            stats,
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
            self.allowed.iter().any(AllowedHost::matches_self)
        } else {
            let port = uri.port_u16().unwrap_or(default_port(uri));
            let host = without_brackets(host);
            self.allowed
                .iter()
                .any(|allowed| allowed.matches(scheme, host, port))
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

/// Who is trusted for which hosts by the runtime config.
fn tls(
    component: &Component,
    config: &RuntimeConfig,
) -> anyhow::Result<Vec<(Vec<String>, Arc<rustls::ClientConfig>)>> {
    let mut tls = Vec::new();
    let entries = config.client_tls.iter();
    for entry in entries.filter(|entry| entry.component_ids.contains(&component.id)) {
        let mut roots = if entry.ca_use_webpki_roots {
            mozilla_roots()
        } else {
            rustls::RootCertStore::empty()
        };
        if let Some(file) = &entry.ca_roots_file {
            let file = config.directory.join(file);
            let unreadable = |error| {
                anyhow::anyhow!("cannot read certificates from {}: {error}", file.display())
            };
            for certificate in CertificateDer::pem_file_iter(&file).map_err(unreadable)? {
                roots.add(certificate.map_err(unreadable)?)?;
            }
        }
        tls.push((entry.hosts.clone(), client_config(roots)));
    }
    Ok(tls)
}

fn mozilla_roots() -> rustls::RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

fn client_config(roots: rustls::RootCertStore) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn default_port(uri: &Uri) -> u16 {
    if uri.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    }
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

tokio::task_local! {
    /// How long the request that needs a connection waits for it. The client hands nothing but the
    /// URI to its connector.
    static CONNECT_TIMEOUT: Duration;
}

/// Connects to an address that was judged, so that a second look-up cannot give another.
#[derive(Clone)]
struct Connector(Arc<Connections>);

struct Connections {
    blocked: BlockedNetworks,
    tls: Vec<(Vec<String>, Arc<rustls::ClientConfig>)>,
    default_tls: Arc<rustls::ClientConfig>,
    resolve: HashMap<String, IpAddr>,
}

impl Connections {
    async fn connect(&self, uri: &Uri) -> Result<Link, ConnectError> {
        let host = uri.host().unwrap_or_default();
        let tcp = self.connect_tcp(uri, without_brackets(host)).await?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Link {
                stream: TokioIo::new(Box::new(tcp)),
                http2: false,
            });
        }
        // As on Spin the name is the host as the URI spells it: an IPv6 address keeps its brackets,
        // and is no name then.
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::Dns("invalid dns name"))?;
        let connector = TlsConnector::from(self.tls_for(host));
        let tls = connector
            .connect(name, tcp)
            .await
            .map_err(|_| ConnectError::Tls)?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Link {
            stream: TokioIo::new(Box::new(tls)),
            http2,
        })
    }

    async fn connect_tcp(&self, uri: &Uri, host: &str) -> Result<TcpStream, ConnectError> {
        const NO_ADDRESS: ConnectError = ConnectError::Dns("address not available");

        let port = uri.port_u16().unwrap_or(default_port(uri));
        let mut addresses: Vec<SocketAddr> = match self.resolve.get(host) {
            Some(address) => vec![SocketAddr::new(*address, port)],
            None => lookup_host((host, port))
                .await
                .map_err(|_| NO_ADDRESS)?
                .collect(),
        };
        let resolved = addresses.len();
        addresses.retain(|address| !self.blocked.blocks(address.ip()));
        if addresses.is_empty() && resolved > 0 {
            eprintln!("A component tried to connect to a blocked network.");
            return Err(ConnectError::Prohibited);
        }
        let limit = CONNECT_TIMEOUT
            .try_with(|limit| *limit)
            .unwrap_or(DEFAULT_TIMEOUT);
        let stream = timeout(limit, TcpStream::connect(&*addresses))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrNotAvailable => NO_ADDRESS,
                _ => ConnectError::Refused,
            })?;
        stream
            .set_nodelay(true)
            .map_err(|_| ConnectError::Refused)?;
        Ok(stream)
    }

    fn tls_for(&self, host: &str) -> Arc<rustls::ClientConfig> {
        let configured = self
            .tls
            .iter()
            .find(|(hosts, _)| hosts.iter().any(|known| known == "*" || known == host));
        configured.map_or_else(|| self.default_tls.clone(), |(_, config)| config.clone())
    }
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connections = self.0.clone();
        Box::pin(async move { connections.connect(&uri).await })
    }
}

/// Why there is no connection, as far as Spin reports it to a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectError {
    Dns(&'static str),
    Prohibited,
    Refused,
    Timeout,
    Tls,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for ConnectError {}

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

/// A connection, over TLS or not.
struct Link {
    stream: TokioIo<Box<dyn Stream>>,
    http2: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection for Link {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.http2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
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
            outbound.stats.operation("http", &url, Caller(None));
            let failed = || Error::InternalError(Some("injected fault".to_owned()));
            let fault = outbound.faults.strike("http", &url, Caller(None));
            if let Some(fault) = &fault
                && !matches!(fault.act(When::Before).await, Struck::GoOn)
            {
                return Err(failed());
            }
            let response = outbound.send(request, options.unwrap_or_default()).await?;
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

/// One entry of `allowed_outbound_hosts`: `scheme://host:port`, with `*` for any of each.
#[derive(Debug)]
struct AllowedHost {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl AllowedHost {
    fn parse(entry: &str) -> anyhow::Result<Self> {
        let malformed = || {
            anyhow::anyhow!(
                "allowed_outbound_hosts has `{entry}`: entries look like https://example.com or https://*:*"
            )
        };
        let (scheme, authority) = entry.split_once("://").ok_or_else(malformed)?;
        let authority = authority.trim_end_matches('/');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match (port, scheme) {
            (Some("*"), _) => None,
            (Some(port), _) => Some(port.parse().map_err(|_| malformed())?),
            (None, "https") => Some(443),
            (None, "http") => Some(80),
            (None, _) => return Err(malformed()),
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            port,
        })
    }

    fn matches(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host_matches = match self.host.strip_prefix("*.") {
            Some(domain) => host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.')),
            None => self.host == "*" || self.host.eq_ignore_ascii_case(host),
        };
        (self.scheme == "*" || self.scheme == scheme)
            && host_matches
            && self.port.is_none_or(|allowed| allowed == port)
    }

    /// Whether it lets the application make requests to itself.
    fn matches_self(&self) -> bool {
        ["*", "http", "https"].contains(&self.scheme.as_str())
            && ["*", "self", SELF].contains(&self.host.as_str())
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
            allowed_outbound_hosts: vec!["*://*:*".to_owned()],
            variables: std::collections::BTreeMap::new(),
        };
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let resolve = ["hooks.example.com", "::1"].map(|host| (host.to_owned(), loopback));
        let config = toml::from_str(config).unwrap();
        let (faults, stats) = (Arc::default(), Arc::default());
        Outbound::new(&component, &config, resolve.into(), own, faults, stats).unwrap()
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

    #[test]
    fn allowed_hosts_match_as_spin_reads_them() {
        let matches = |entry: &str, scheme, host, port| {
            AllowedHost::parse(entry)
                .unwrap()
                .matches(scheme, host, port)
        };
        assert!(matches("https://*:*", "https", "a.example.com", 8443));
        assert!(!matches("https://*:*", "http", "a.example.com", 80));
        assert!(matches("https://example.com", "https", "example.com", 443));
        assert!(!matches(
            "https://example.com",
            "https",
            "example.com",
            8443
        ));
        assert!(matches(
            "http://*.example.com:80",
            "http",
            "a.example.com",
            80
        ));
        assert!(!matches(
            "http://*.example.com:80",
            "http",
            "example.com",
            80
        ));
        assert!(matches("*://[::1]:*", "http", "::1", 9000));
        assert!(AllowedHost::parse("example.com").is_err());
    }
}
