//! Connections for outbound requests: to addresses that were judged, over TLS or not.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::blocked_networks::BlockedNetworks;
use crate::manifest::Component;
use crate::runtime_config::RuntimeConfig;

/// Spin's default for each of the three timeouts.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

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

/// The authorities that browsers trust.
pub fn mozilla_roots() -> rustls::RootCertStore {
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

pub(super) fn default_port(uri: &Uri) -> u16 {
    if uri.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    }
}

pub(super) fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

tokio::task_local! {
    /// How long the request that needs a connection waits for it. The client hands nothing but the
    /// URI to its connector.
    pub(super) static CONNECT_TIMEOUT: Duration;
}

/// Connects to an address that was judged, so that a second look-up cannot give another.
#[derive(Clone)]
pub(super) struct Connector(Arc<Connections>);

impl Connector {
    /// What the runtime config and `--resolve` say for a component.
    ///
    /// # Errors
    ///
    /// One line that names the malformed setting.
    pub(super) fn new(
        component: &Component,
        config: &RuntimeConfig,
        resolve: HashMap<String, IpAddr>,
    ) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Connections {
            blocked: BlockedNetworks::parse(&config.outbound_networking.block_networks)?,
            tls: tls(component, config)?,
            default_tls: client_config(mozilla_roots()),
            resolve,
        })))
    }
}

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
        // Without TCP_NODELAY, as on Spin: a body that leaves after its head waits for the peer's
        // delayed acknowledgement.
        timeout(limit, TcpStream::connect(&*addresses))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrNotAvailable => NO_ADDRESS,
                _ => ConnectError::Refused,
            })
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
pub(super) enum ConnectError {
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

/// A connection, over TLS or not.
pub(super) struct Link {
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
