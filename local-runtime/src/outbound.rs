//! The component's outbound HTTP: only to allowed hosts, never into blocked networks.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::faults::{Faults, Struck, When};
use crate::manifest::Component;
use crate::runtime_config::{BlockedNetworks, RuntimeConfig};
use crate::stats::{Caller, Stats};

/// Spin's default for each of the three timeouts.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Where a component may connect to, and how.
pub struct Outbound {
    allowed: Vec<AllowedHost>,
    blocked: BlockedNetworks,
    tls: Vec<(Vec<String>, Arc<rustls::ClientConfig>)>,
    default_tls: Arc<rustls::ClientConfig>,
    resolve: HashMap<String, IpAddr>,
    faults: Arc<Faults>,
    stats: Arc<Stats>,
}

impl Outbound {
    /// What the manifest, the runtime config and `--resolve` allow the component.
    ///
    /// # Errors
    ///
    /// One line that tells which setting is malformed.
    pub fn new(
        component: &Component,
        config: &RuntimeConfig,
        resolve: HashMap<String, IpAddr>,
        faults: Arc<Faults>,
        stats: Arc<Stats>,
    ) -> anyhow::Result<Self> {
        let mut tls = Vec::new();
        for entry in &config.client_tls {
            if entry.component_ids.contains(&component.id) {
                let mut roots = rustls::RootCertStore::empty();
                if let Some(file) = &entry.ca_roots_file {
                    let file = config.directory.join(file);
                    let unreadable = |error| {
                        anyhow::anyhow!("cannot read certificates from {}: {error}", file.display())
                    };
                    for certificate in CertificateDer::pem_file_iter(&file).map_err(unreadable)? {
                        roots.add(certificate.map_err(unreadable)?)?;
                    }
                }
                if entry.ca_use_webpki_roots {
                    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                }
                tls.push((entry.hosts.clone(), client_config(roots)));
            }
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Ok(Self {
            allowed: component
                .allowed_outbound_hosts
                .iter()
                .map(|entry| AllowedHost::parse(entry))
                .collect::<anyhow::Result<_>>()?,
            blocked: BlockedNetworks::parse(&config.outbound_networking.block_networks)?,
            tls,
            default_tls: client_config(roots),
            resolve,
            faults,
            stats,
        })
    }

    async fn send(
        &self,
        mut request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Response<WasiBody>, Error> {
        let uri = request.uri().clone();
        let secure = uri.scheme() != Some(&Scheme::HTTP);
        let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let scheme = if secure { "https" } else { "http" };
        if !self
            .allowed
            .iter()
            .any(|allowed| allowed.matches(scheme, host, port))
        {
            eprintln!(
                "A component tried to make an outbound request to a host that is not in its `allowed_outbound_hosts`."
            );
            return Err(Error::HttpRequestDenied);
        }

        let connect_timeout = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let stream = timeout(connect_timeout, self.connect(host, port))
            .await
            .map_err(|_| Error::ConnectionTimeout)??;
        let stream: Box<dyn Stream> = if secure {
            let name =
                ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
            let connector = TlsConnector::from(self.tls_for(host));
            let connecting = connector.connect(name, stream);
            let stream = timeout(connect_timeout, connecting)
                .await
                .map_err(|_| Error::ConnectionTimeout)?
                .map_err(Error::Tls)?;
            Box::new(stream)
        } else {
            Box::new(stream)
        };

        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        if let Some(authority) = uri.authority()
            && let Ok(host) = authority.as_str().parse()
        {
            request.headers_mut().insert(http::header::HOST, host);
        }
        *request.uri_mut() = uri
            .path_and_query()
            .map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));
        let first_byte = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let response = timeout(first_byte, sender.send_request(request))
            .await
            .map_err(|_| Error::ConnectionReadTimeout)??;
        let between_bytes = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        Ok(response.map(|body| {
            TimedBody {
                body,
                between_bytes,
                sleep: Box::pin(tokio::time::sleep(between_bytes)),
            }
            .boxed_unsync()
        }))
    }

    /// Connects to an address that was checked, so that a second look-up cannot give another.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let resolved: Vec<SocketAddr> = match self.resolve.get(host) {
            Some(address) => vec![SocketAddr::new(*address, port)],
            None => lookup_host((host, port))
                .await
                .map_err(|_| Error::DnsError {
                    rcode: Some("address not available".to_owned()),
                    info_code: Some(0),
                })?
                .collect(),
        };
        let open: Vec<SocketAddr> = resolved
            .into_iter()
            .filter(|address| !self.blocked.blocks(address.ip()))
            .collect();
        if open.is_empty() {
            eprintln!("A component tried to connect to a blocked network.");
            return Err(Error::DestinationIpProhibited);
        }
        let stream = TcpStream::connect(&*open)
            .await
            .map_err(|_| Error::ConnectionRefused)?;
        stream.set_nodelay(true).map_err(Error::Connect)?;
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

fn client_config(roots: rustls::RootCertStore) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

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
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
