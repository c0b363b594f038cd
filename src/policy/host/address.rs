//! What an address is, whatever name led to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as IPv4 where it stands for one: mapped (`::ffff:0:0/96`), by NAT64 (`64:ff9b::/96`, RFC 6052) or 6to4 (`2002::/16`, RFC 3056).
pub fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    let octets = v6.octets();
    let four = |at: usize| octets.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok()).map(Ipv4Addr::from);
    let embedded = match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0, 0, 0, 0, 0, 0, _, _] if v6 != Ipv6Addr::LOCALHOST && v6 != Ipv6Addr::UNSPECIFIED => four(12),
        [0x2002, ..] => four(2),
        _ => None,
    };
    embedded.map_or(address, IpAddr::V4)
}

/// Whether an address is one of the public internet: neither private, of this host or link, for documentation or many, nor reserved (the special-purpose
/// registries of RFC 6890). The metadata services of clouds lie in `169.254.0.0/16`, `fd00:ec2::/32` and `100.100.100.200`.
pub fn is_public(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = match (a, b, c) {
                (0 | 10 | 127 | 224..=255, ..)
                | (169, 254, _)
                | (192, 168, _)
                | (192, 0, 0 | 2)
                | (192, 88, 99)
                | (198, 51, 100)
                | (203, 0, 113) => true,
                (100, b, _) => (64..128).contains(&b),
                (172, b, _) => (16..32).contains(&b),
                (198, b, _) => (18..20).contains(&b),
                _ => false,
            };
            !special
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Only global unicast is given out (2000::/3); of it 2001::/23 and documentation are not the internet's.
            (0x2000..0x4000).contains(&first)
                && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
                && !(first == 0x3fff && second < 0x1000)
        }
    }
}
