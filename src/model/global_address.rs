//! Which IP addresses are global: those that deliveries may go to.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The networks of IPv4, each with its prefix's length, that are not the public internet's: IANA's
/// special-purpose registry (RFC 6890), multicast, what is reserved, and a cloud's own service.
pub const NOT_GLOBAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network: RFC 791 §3.2
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private: RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carrier-grade NAT: RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback: RFC 1122 §3.2.1.3
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local: RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private: RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments: RFC 6890 §2.1
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation: RFC 5737
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // relays of 6to4: RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private: RFC 1918
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarking: RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation: RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation: RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast: RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, with broadcast: RFC 1112 §4
    // Azure's platform service has a public address. The other clouds' are link-local
    // (169.254.169.254), shared (100.100.100.200) or assigned (192.0.0.192).
    (Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// The networks of IPv6, each with its prefix's length, that are not the public internet's: all but
/// global unicast (RFC 4291 §2.5.4), IANA's special-purpose registry, and what wraps an IPv4 address.
pub const NOT_GLOBAL_V6: [(Ipv6Addr, u32); 7] = [
    // Only 2000::/3 is assigned. The first of these holds ::, ::1, IPv4-mapped and -compatible
    // addresses and NAT64's 64:ff9b::/96, the last one unique local, link-local and multicast ones.
    (v6(0, 0), 3),
    (v6(0x4000, 0), 2),
    (v6(0x8000, 0), 1),
    (v6(0x2001, 0), 23),      // protocol assignments, Teredo, ORCHID …: RFC 2928
    (v6(0x2001, 0x0db8), 32), // documentation: RFC 3849
    (v6(0x2002, 0), 16),      // 6to4: RFC 3056
    (v6(0x3fff, 0), 20),      // documentation: RFC 9637
];

const fn v6(first: u16, second: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)
}

/// Whether an IPv4 address is one of the public internet: in none of [`NOT_GLOBAL_V4`].
pub fn is_global_v4(address: Ipv4Addr) -> bool {
    !NOT_GLOBAL_V4
        .iter()
        .any(|(network, length)| (address.to_bits() ^ network.to_bits()) >> (32 - length) == 0)
}

/// Whether an IPv6 address is one of the public internet: in none of [`NOT_GLOBAL_V6`], and without
/// an IPv4 address in the half that is the interface's.
pub fn is_global_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let isatap = segments[4] & !0x0200 == 0 && segments[5] == 0x5efe; // RFC 5214 §6.1
    !isatap
        && !NOT_GLOBAL_V6
            .iter()
            .any(|(network, length)| (address.to_bits() ^ network.to_bits()) >> (128 - length) == 0)
}
