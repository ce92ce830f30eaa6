//! TLS to PostgreSQL servers.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::outbound::mozilla_roots;

/// A certificate authority that a connection trusts beside Mozilla's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaRoot(CertificateDer<'static>);

impl CaRoot {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        certificate
            .map(Self)
            .map_err(|_| anyhow::anyhow!("no certificate in PEM"))
    }
}

/// Verifies the server's certificate and name, always, as on Spin. The authorities are Mozilla's
/// instead of the system's.
///
/// # Errors
///
/// An authority that is none.
pub fn verifying(ca_root: Option<&CaRoot>) -> anyhow::Result<MakeRustlsConnect> {
    let mut roots = mozilla_roots();
    if let Some(CaRoot(certificate)) = ca_root {
        roots.add(certificate.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::super::pool::{Limit, Pools};
    use super::super::traps::{cluster, report};
    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        let base64 = Base64::encode_string(der);
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    }

    #[tokio::test]
    async fn a_servers_certificate_and_name_are_verified_unless_tls_is_off() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let Some(server) = cluster::Postgres::start_with_tls(
            &pem("CERTIFICATE", certificate.der()),
            &pem("PRIVATE KEY", key.serialized_der()),
        ) else {
            fn here() {}
            report::server_missing(std::any::type_name_of_val(&here));
            return;
        };
        let database = server.database();
        let root = CaRoot::from_pem(&pem("CERTIFICATE", authority.der())).unwrap();
        let connect = async |host: &str, mode: &str, ca_root: Option<&CaRoot>| {
            let url = database.url.replace("127.0.0.1", host);
            let url = url.replace("sslmode=disable", &format!("sslmode={mode}"));
            let pools = Pools::new(Limit::default());
            pools.get(&url, ca_root.cloned()).await.map(drop)
        };
        connect("127.0.0.1", "require", Some(&root)).await.unwrap();
        connect("127.0.0.1", "prefer", Some(&root)).await.unwrap();
        connect("127.0.0.1", "disable", None).await.unwrap();
        for mode in ["require", "prefer"] {
            assert!(connect("127.0.0.1", mode, None).await.is_err(), "{mode}");
            let other_name = connect("localhost", mode, Some(&root)).await;
            assert!(other_name.is_err(), "{mode}");
        }
    }

    #[test]
    fn an_authority_is_a_certificate_in_pem() {
        assert!(CaRoot::from_pem("").is_err());
        assert!(CaRoot::from_pem(&pem("PRIVATE KEY", b"key")).is_err());
    }
}
