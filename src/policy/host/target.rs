//! Where a connection is to lead: a host and a port, as clients and rules write them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::address::plain;

/// The longest text that is taken for a host: a name has at most 253 bytes (RFC 1035 section 3.1).
const LONGEST: usize = 1024;

/// A host as a client names it, normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name: lower-case ASCII labels, no dot at the end.
    Name(String),
    /// An address; one that stands for an IPv4 address is that.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// Why a text names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHost {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It has no place for what it holds: control characters, spaces, `@`, `%`, `/` and the like.
    #[error("it holds characters that no host name has")]
    Characters,
    /// It is an IPv4 address in a way that not every program reads alike, such as `0x7f.1` or `127.1`.
    #[error("it is a number that programs read in different ways; write an IPv4 address as four decimal numbers")]
    OddNumber,
    /// It is too long, or a part of it is empty or too long.
    #[error("its parts are not those of a host name")]
    Labels,
    /// It cannot be written in ASCII (UTS #46).
    #[error("it has no form in ASCII")]
    Idna,
}

impl Host {
    /// Reads a host: a name, an IPv4 address, or an IPv6 address with or without brackets.
    ///
    /// # Errors
    /// Where it is none, or could be read in two ways.
    pub fn parse(text: &str) -> Result<Self, NoHost> {
        if text.is_empty() {
            return Err(NoHost::Empty);
        }
        if text.len() > LONGEST {
            return Err(NoHost::Labels);
        }
        let bare = text.strip_prefix('[').map_or(Ok(text), |rest| rest.strip_suffix(']').ok_or(NoHost::Characters))?;
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            return Ok(Self::Address(plain(IpAddr::V6(address))));
        }
        if bare.len() != text.len()
            || text.contains(|c: char| c.is_control() || c.is_whitespace() || "@%/\\?#:[]<>^|\"'`*,;=&+!$(){}~".contains(c))
        {
            return Err(NoHost::Characters);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = idna::domain_to_ascii_strict(name).map_err(|_| if name.is_ascii() { NoHost::Labels } else { NoHost::Idna });
        // Underscores have no place in IDNA's strict form and are common in names for services.
        let name = name
            .or_else(|error| if text.is_ascii() { Ok(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()) } else { Err(error) })?;
        let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with("0x");
        match name.rsplit('.').next() {
            // What ends like a number is read as an IPv4 address by browsers and by inet_aton(3) (WHATWG URL, "ends in a number").
            Some(last) if number(last) && !last.is_empty() => return Err(NoHost::OddNumber),
            _ => {}
        }
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(NoHost::Labels);
        }
        Ok(Self::Name(name))
    }
}

/// Labels of RFC 1123 section 2.1 with `_` besides.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Where a connection is to lead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port, 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Target {
    /// Reads `host:port`; a port that is not given is `port`.
    ///
    /// # Errors
    /// Where the host is none, or the port is no number from 1 to 65535.
    pub fn parse(text: &str, port: u16) -> Result<Self, NoHost> {
        // The colons of an IPv6 address stand in brackets, where there is a port.
        let (host, given) = match text.rfind(':') {
            Some(at) if text.ends_with(']') || text.parse::<Ipv6Addr>().is_ok() || at == 0 => (text, None),
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
            None => (text, None),
        };
        let port = match given {
            None => port,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| NoHost::Characters)?,
            Some(_) => return Err(NoHost::Characters),
        };
        if port == 0 {
            return Err(NoHost::Characters);
        }
        Ok(Self { host: Host::parse(host)?, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_thing_or_nothing() {
        for (text, name) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("a_b.example", "a_b.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("[64:ff9b::a00:1]", "10.0.0.1"),
            ("2002:a00:1::", "10.0.0.1"),
            ("[::7f00:1]", "127.0.0.1"),
        ] {
            assert_eq!(Host::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string(), name);
        }
        for text in [
            "",
            ".",
            "a..b",
            "-a.org",
            "a-.org",
            "a b",
            "a\0b",
            "a\r\nb",
            "user@a.org",
            "a%2eb",
            "a/b",
            "a\\b",
            "127.1",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "2130706433",
            "127.0.0.1.1",
            "1.2.3.256",
            "[::1",
            "::1]",
            "fe80::1%eth0",
            "a.org:80",
            "*.a.org",
            "a.0x10",
            "\u{0}",
            "a?b",
            "a#b",
            "xn--\u{e9}",
        ] {
            assert!(Host::parse(text).is_err(), "{text:?}: {:?}", Host::parse(text));
        }
        assert!(Host::parse(&"a".repeat(64)).is_err() && Host::parse(&format!("{}a", "a.".repeat(127))).is_err());
        assert_eq!(Host::parse("\u{ff45}xample.org"), Host::parse("example.org"), "full-width letters are letters");
    }

    #[test]
    fn a_target_has_one_port() {
        assert_eq!(Target::parse("a.org", 443).unwrap().to_string(), "a.org:443");
        assert_eq!(Target::parse("a.org:8080", 443).unwrap().to_string(), "a.org:8080");
        assert_eq!(Target::parse("[::1]:8080", 443).unwrap().to_string(), "[::1]:8080");
        assert_eq!(Target::parse("::1", 443).unwrap().to_string(), "[::1]:443");
        for text in ["a.org:", "a.org:0", "a.org:65536", "a.org:+1", "a.org:1:2", ":80", "[::1]x:80", "a.org:８０"] {
            assert!(Target::parse(text, 443).is_err(), "{text}: {:?}", Target::parse(text, 443));
        }
    }
}
