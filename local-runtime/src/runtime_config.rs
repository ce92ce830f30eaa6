//! The part of Spin's runtime config file that the runtime honours.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use application_webhooks::model::endpoint_url::{is_global_v4, is_global_v6};
use serde::Deserialize;

/// A runtime config file.
#[derive(Debug, Default, Deserialize)]
pub struct RuntimeConfig {
    /// More stores beside `default`, by label.
    #[serde(default)]
    pub key_value_store: BTreeMap<String, StoreTable>,
    /// What may be connected to.
    #[serde(default)]
    pub outbound_networking: OutboundNetworking,
    /// Whom to trust.
    #[serde(default)]
    pub client_tls: Vec<ClientTls>,
    /// The file's folder, which its relative paths start from.
    #[serde(skip)]
    pub directory: PathBuf,
}

/// One `[key_value_store.LABEL]`.
#[derive(Debug, Deserialize)]
pub struct StoreTable {
    /// `spin` is the only one that there is here.
    pub r#type: String,
    /// The SQLite file.
    pub path: Option<PathBuf>,
}

/// `[outbound_networking]`.
#[derive(Debug, Default, Deserialize)]
pub struct OutboundNetworking {
    /// Networks in CIDR form, or `private`.
    #[serde(default)]
    pub block_networks: Vec<String>,
}

/// One `[[client_tls]]`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientTls {
    /// The components it is for.
    pub component_ids: Vec<String>,
    /// The hosts it is for; `*` is all.
    pub hosts: Vec<String>,
    /// A PEM file with the only roots to trust.
    pub ca_roots_file: Option<PathBuf>,
    /// Trust Mozilla's roots too.
    #[serde(default)]
    pub ca_use_webpki_roots: bool,
}

impl RuntimeConfig {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// One line that tells what is wrong.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the runtime config {}", path.display()))?;
        let mut config: Self = toml::from_str(&text).map_err(|error| {
            anyhow::anyhow!(
                "the runtime config {} is malformed: {}",
                path.display(),
                error.message()
            )
        })?;
        config.directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(config)
    }
}

/// The networks that must not be connected to.
#[derive(Clone, Debug, Default)]
pub struct BlockedNetworks {
    private: bool,
    networks: Vec<(u128, u32)>,
}

impl BlockedNetworks {
    /// Reads `block_networks`.
    ///
    /// # Errors
    ///
    /// An entry that is neither `private` nor a network.
    pub fn parse(entries: &[String]) -> anyhow::Result<Self> {
        let mut blocked = Self::default();
        for entry in entries {
            if entry == "private" {
                blocked.private = true;
                continue;
            }
            let (address, length) = entry.split_once('/').unwrap_or((entry, "128"));
            let network = address
                .parse::<IpAddr>()
                .ok()
                .zip(length.parse::<u32>().ok());
            let Some((address, length)) = network else {
                bail!("block_networks must hold networks like 10.0.0.0/8, or \"private\"");
            };
            let length = match address {
                IpAddr::V4(_) if entry.contains('/') => length + 96,
                _ => length,
            };
            if length > 128 {
                bail!("block_networks holds a network with too long a prefix");
            }
            blocked.networks.push((bits(address), length));
        }
        Ok(blocked)
    }

    /// Whether connections to the address are refused.
    pub fn blocks(&self, address: IpAddr) -> bool {
        let global = match address.to_canonical() {
            IpAddr::V4(address) => is_global_v4(address),
            IpAddr::V6(address) => is_global_v6(address),
        };
        if self.private && !global {
            return true;
        }
        self.networks.iter().any(|(network, length)| {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            bits(address) & mask == network & mask
        })
    }
}

/// An address in IPv6's space; IPv4 as IPv4-mapped.
fn bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(entries: &[&str]) -> BlockedNetworks {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        BlockedNetworks::parse(&entries).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn private_blocks_what_is_not_global() {
        let blocked = blocked(&["private"]);
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "::1",
            "::ffff:10.0.0.1",
            "fd00::1",
        ] {
            assert!(blocked.blocks(ip(address)), "{address}");
        }
        for address in ["1.1.1.1", "2606:4700:4700::1111"] {
            assert!(!blocked.blocks(ip(address)), "{address}");
        }
    }

    #[test]
    fn networks_block_their_addresses_only() {
        let blocked = blocked(&["123.123.0.0/16", "2001:db8::/32", "9.9.9.9"]);
        for address in [
            "123.123.1.1",
            "::ffff:123.123.1.1",
            "2001:db8:1::",
            "9.9.9.9",
        ] {
            assert!(blocked.blocks(ip(address)), "{address}");
        }
        for address in ["123.124.0.1", "127.0.0.1", "2001:db9::", "9.9.9.8"] {
            assert!(!blocked.blocks(ip(address)), "{address}");
        }
        assert!(BlockedNetworks::parse(&["nowhere".to_owned()]).is_err());
    }
}
