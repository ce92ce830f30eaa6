//! A certificate authority that only a server of these tests trusts.

use std::sync::Arc;

use base64ct::{Base64, Encoding};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use super::Setup;

/// An authority with a key of its own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its certificate in PEM (RFC 7468 §5.1), on one line: readers take any length.
    fn pem(&self) -> String {
        let base64 = Base64::encode_string(self.0.der());
        format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
    }

    /// What a server needs to be `host`.
    pub fn server_config(&self, host: &str) -> Arc<ServerConfig> {
        self.sign(CertificateParams::new([host.to_owned()]).expect("a host name"))
    }

    /// What a server has that was `host` until 2021.
    pub fn expired_server_config(&self, host: &str) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host name");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring offers the default protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], PrivateKeyDer::from(key))
            .expect("a key and its certificate");
        Arc::new(config)
    }
}

impl Setup {
    /// Trusts this authority, and nobody else, for these hosts, which are on this machine. To the service
    /// private networks are blocked, as in production: else it is not ready, and repeats no delivery.
    pub fn trusting(self, authority: &Authority, hosts: &[&str]) -> Self {
        let file = self.state_dir().join("authority.pem");
        std::fs::write(&file, authority.pem()).expect("write a certificate");
        let config = format!(
            "[[client_tls]]\ncomponent_ids = [\"application-webhooks\", \"event-dispatcher\"]\n\
             hosts = {hosts:?}\n\
             ca_roots_file = {file:?}\n\n[outbound_http]\nconnection_pooling = false\n\n\
             [[variables_provider]]\ntype = \"static\"\nvalues = {{ private_networks = \"blocked\" }}\n"
        );
        let config_file = self.state_dir().join("runtime-config.toml");
        std::fs::write(&config_file, config).expect("write a runtime config");
        let trusting = self.runtime_config(&config_file);
        hosts
            .iter()
            .fold(trusting, |setup, host| setup.resolve(host, "127.0.0.1"))
    }
}
