//! `block_networks`: the addresses that must not be connected to.

use std::net::IpAddr;

use anyhow::Context;
use ip_network::IpNetwork;

/// The networks that must not be connected to, as Spin's `BlockedNetworks` reads them.
#[derive(Clone, Debug, Default)]
pub struct BlockedNetworks {
    private: bool,
    networks: Vec<IpNetwork>,
}

impl BlockedNetworks {
    /// Reads `block_networks`.
    ///
    /// # Errors
    ///
    /// An entry that is neither `private` nor a network.
    pub fn parse(entries: &[String]) -> anyhow::Result<Self> {
        let private = entries.iter().any(|entry| entry == "private");
        let networks = entries
            .iter()
            .filter(|entry| *entry != "private")
            .map(|entry| IpNetwork::from_str_truncate(entry))
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .context("block_networks must hold networks like 10.0.0.0/8, or \"private\"")?;
        let mut networks = IpNetwork::collapse_addresses(&networks);
        // A trap of Spin: `ff00::/8` is not global as a whole and dropped here, but `private` lets
        // the addresses of global multicast in it through.
        networks.retain(|network| !private || network.is_global());
        Ok(Self { private, networks })
    }

    /// Whether connections to the address are refused.
    pub fn blocks(&self, address: IpAddr) -> bool {
        if self.private && !IpNetwork::from(address).is_global() {
            return true;
        }
        if self.covers(address) {
            return true;
        }
        // IPv4 in IPv6: mapped (`::ffff:0:0/96`) and compatible (`::/96`).
        matches!(address, IpAddr::V6(address)
            if address.to_ipv4().is_some_and(|address| self.blocks(address.into())))
    }

    fn covers(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| match (network, address) {
                (IpNetwork::V4(network), IpAddr::V4(address)) => network.contains(address),
                (IpNetwork::V6(network), IpAddr::V6(address)) => network.contains(address),
                _ => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use application_webhooks::model::global_address::{
        NOT_GLOBAL_V4, NOT_GLOBAL_V6, is_global_v4, is_global_v6,
    };

    use super::*;
    use crate::runtime_config::tests::shipped;

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
            "::10.0.0.1",
            "fd00::1",
        ] {
            assert!(blocked.blocks(ip(address)), "{address}");
        }
        for address in ["1.1.1.1", "2606:4700:4700::1111"] {
            assert!(!blocked.blocks(ip(address)), "{address}");
        }
    }

    /// So that a test with `private` alone shows what Spin lets through.
    #[test]
    fn private_lets_through_what_spin_lets_through() {
        let blocked = blocked(&["private"]);
        for address in [
            "168.63.129.16",
            "192.0.0.9",
            "192.88.99.1",
            "224.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2001::1",
            "2002:7f00:1::",
            "3fff::1",
            "ff0e::1",
        ] {
            assert!(!blocked.blocks(ip(address)), "{address}");
        }
    }

    #[test]
    fn beside_private_spin_drops_a_network_that_is_private_as_a_whole() {
        assert!(blocked(&["ff00::/8"]).blocks(ip("ff0e::1")));
        assert!(!blocked(&["private", "ff00::/8"]).blocks(ip("ff0e::1")));
        assert!(blocked(&["private", "ff00::/8", "8000::/1"]).blocks(ip("ff0e::1")));
    }

    #[test]
    fn networks_block_their_addresses_only() {
        let blocked = blocked(&["123.123.0.0/16", "2001:db8::/32", "9.9.9.9/32"]);
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
        for entry in ["nowhere", "9.9.9.9", "10.0.0.0/33", ""] {
            assert!(
                BlockedNetworks::parse(&[entry.to_owned()]).is_err(),
                "{entry}"
            );
        }
    }

    /// Addresses of a network: those at its ends, and some between, the same in each run.
    fn samples(first: u128, last: u128) -> impl Iterator<Item = u128> {
        const EDGE: u128 = 512;
        // Knuth's multiplier and increment, from MMIX.
        let mut state = 0_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            u128::from(state >> 32)
        };
        let between = (0..20_000).map(move |_| {
            let chance = (0..4).fold(0, |chance, _| (chance << 32) | random());
            first + chance % (last - first + 1)
        });
        (first..=last)
            .take(EDGE as usize)
            .chain(last.saturating_sub(EDGE).max(first)..=last)
            .chain(between)
    }

    /// What a webhook's URL must not name, a name must not lead to.
    #[test]
    fn each_shipped_config_blocks_every_network_that_the_url_rules_refuse() {
        for (name, config) in shipped() {
            let networks = &config.outbound_networking.block_networks;
            let blocked = BlockedNetworks::parse(networks).unwrap();
            for (network, length) in NOT_GLOBAL_V4 {
                let first = u128::from(network.to_bits());
                let last = first | (u128::from(u32::MAX) >> length);
                for address in samples(first, last) {
                    let address = Ipv4Addr::from_bits(u32::try_from(address).unwrap());
                    assert!(!is_global_v4(address), "{address}");
                    assert!(blocked.blocks(address.into()), "{name}: {address}");
                    assert!(
                        blocked.blocks(address.to_ipv6_mapped().into()),
                        "{name}: {address}"
                    );
                }
            }
            for (network, length) in NOT_GLOBAL_V6 {
                let first = network.to_bits();
                let last = first | (u128::MAX >> length);
                for address in samples(first, last) {
                    let address = Ipv6Addr::from_bits(address);
                    assert!(!is_global_v6(address), "{address}");
                    assert!(blocked.blocks(address.into()), "{name}: {address}");
                }
            }
        }
    }

    #[test]
    fn each_shipped_config_names_the_networks_that_private_lacks() {
        for (name, config) in shipped() {
            let networks = &config.outbound_networking.block_networks;
            for network in [
                "private",
                "168.63.129.16/32",
                "64:ff9b::/96",
                "2002::/16",
                "2001::/32",
                "192.88.99.0/24",
                "224.0.0.0/4",
                "ff00::/8",
            ] {
                assert!(networks.iter().any(|it| it == network), "{name}: {network}");
            }
        }
    }

    /// The rest of the internet stays reachable.
    #[test]
    fn each_shipped_config_lets_through_what_the_url_rules_accept() {
        for (name, config) in shipped() {
            let networks = &config.outbound_networking.block_networks;
            let blocked = BlockedNetworks::parse(networks).unwrap();
            let mut accepted = 0;
            for address in samples(0, u128::from(u32::MAX)) {
                let address = Ipv4Addr::from_bits(u32::try_from(address).unwrap());
                if is_global_v4(address) {
                    accepted += 1;
                    assert!(!blocked.blocks(address.into()), "{name}: {address}");
                }
            }
            let (first, last) = (0x2000_u128 << 112, (0x4000_u128 << 112) - 1);
            for address in samples(first, last) {
                let address = Ipv6Addr::from_bits(address);
                if is_global_v6(address) {
                    accepted += 1;
                    assert!(!blocked.blocks(address.into()), "{name}: {address}");
                }
            }
            assert!(accepted > 30_000, "{accepted}");
        }
    }
}
