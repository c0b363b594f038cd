//! Host rules: their syntax, what a name means, and the one verdict on a connection.
//!
//! A rule is `example.org`, `*.example.org` (everything below it, and not itself), an IP address, or one of these with a port; without one it
//! means ports 80 and 443. `GET,HEAD example.org:80` covers plain HTTP with these methods alone. Names are compared as DNS knows them: lower case, ASCII
//! (UTS #46), without the dot at the end. What could mean two things to two programs is no name at all.
//!
//! Pure: nothing is looked up. That a name is allowed does not make each address that it leads to allowed: [`HostRules::judge_address`].

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{Network, NetworkMode, Origin};

/// The variables by which programs find the proxy of an allow list: those of curl and its like in both spellings, npm's own, Java's, and Node's switch.
pub const PROXY_VARIABLES: [&str; 12] = [
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "JAVA_TOOL_OPTIONS",
    "NODE_USE_ENV_PROXY",
    "NO_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "npm_config_https_proxy",
    "npm_config_proxy",
];
/// Ports that a rule without one means.
const WEB_PORTS: [u16; 2] = [80, 443];
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

/// What a rule covers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostRule {
    /// Of plain HTTP; none covers everything.
    methods: Vec<String>,
    host: Host,
    /// Everything below `host` instead of itself.
    below: bool,
    port: Option<u16>,
}

impl HostRule {
    fn parse(text: &str) -> Result<Self, NoHost> {
        if text.trim() != text {
            return Err(NoHost::Characters);
        }
        let mut words = text.split_whitespace().rev();
        let place = words.next().ok_or(NoHost::Empty)?;
        let methods: Vec<String> = match words.next() {
            None => Vec::new(),
            Some(list) => list.split(',').map(str::to_owned).collect(),
        };
        let is_method = |method: &String| (1..=20).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase());
        if words.next().is_some() || !methods.iter().all(is_method) {
            return Err(NoHost::Characters);
        }
        let (below, place) = place.strip_prefix("*.").map_or((false, place), |rest| (true, rest));
        // Port 0 is never given, so it stands for none.
        let with_port = place.parse::<Ipv6Addr>().is_err() && !place.ends_with(']') && place.contains(':');
        let target = Target::parse(place, 1)?;
        if below && matches!(target.host, Host::Address(_)) {
            return Err(NoHost::Characters);
        }
        Ok(Self { methods, host: target.host, below, port: with_port.then_some(target.port) })
    }

    fn covers(&self, target: &Target, method: Option<&str>) -> bool {
        let port = self.port.map_or(WEB_PORTS.contains(&target.port), |port| port == target.port);
        let method = self.methods.is_empty() || method.is_some_and(|method| self.methods.iter().any(|known| known == method));
        port && method && self.covers_host(&target.host)
    }

    fn covers_host(&self, host: &Host) -> bool {
        match (&self.host, host) {
            (Host::Name(own), Host::Name(name)) if self.below => {
                name.strip_suffix(own.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (own, host) => own == host,
        }
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join(","))?;
        }
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A host rule in the form that all ways to write it share.
///
/// # Errors
/// Where the text is none.
pub fn normal_rule(text: &str) -> Result<String, NoHost> {
    HostRule::parse(text).map(|rule| rule.to_string())
}

/// One target with a method for each thing that a rule covers: each of its ports, each of its methods, and where it names none, a tunnel.
pub fn examples(rule: &str) -> Vec<(Target, Option<String>)> {
    let Ok(HostRule { methods, host, below, port }) = HostRule::parse(rule) else { return Vec::new() };
    let host = match host {
        Host::Name(name) if below => Host::Name(format!("any.{name}")),
        host => host,
    };
    let methods: Vec<Option<String>> = if methods.is_empty() { vec![None] } else { methods.into_iter().map(Some).collect() };
    let ports = port.map_or_else(|| WEB_PORTS.to_vec(), |port| vec![port]);
    let target = |port| Target { host: host.clone(), port };
    ports
        .into_iter()
        .flat_map(|port| methods.iter().map(move |method| (port, method.clone())))
        .map(|(port, method)| (target(port), method))
        .collect()
}

/// The rules of a policy about hosts, as they cross the boundary to the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostLists {
    /// One list per layer; a host must be covered by every one. Without a list nothing is.
    pub allow: Vec<Vec<(String, Origin)>>,
    /// What is refused whatever is allowed.
    pub deny: Vec<(String, Origin)>,
}

impl HostLists {
    /// Those of a policy; `None` where its mode needs none.
    pub fn of(network: &Network) -> Option<Self> {
        (network.mode == NetworkMode::Allowlist).then(|| Self { allow: network.allow.clone(), deny: network.deny.clone() })
    }
}

/// Why a connection is refused, or that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostReason {
    /// Every list covers it.
    Allowed,
    /// A `deny` rule matches.
    Denied,
    /// A list covers the host with other methods of plain HTTP alone.
    Method,
    /// A list covers the host on other ports alone.
    Port,
    /// A list does not cover it.
    NotCovered,
    /// The name leads to an address that is not public, and no rule names that address.
    NotPublic,
}

/// The verdict on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostVerdict {
    /// Why.
    pub reason: HostReason,
    /// The rule that decided, and where it stands; of a list that lacks the host its first entry, which names the file and the line to change.
    pub rule: Option<(String, Origin)>,
}

impl HostVerdict {
    /// Whether it may be made.
    pub fn allowed(&self) -> bool {
        self.reason == HostReason::Allowed
    }
}

type Entry = (HostRule, (String, Origin));

/// The rules, ready to judge.
#[derive(Debug, Clone)]
pub struct HostRules {
    allow: Vec<Vec<Entry>>,
    deny: Vec<Entry>,
    /// There is a rule that is none, which loading excludes: nothing is allowed then.
    broken: bool,
}

impl HostRules {
    /// Prepares the rules.
    pub fn new(lists: &HostLists) -> Self {
        let mut broken = false;
        let mut entries = |list: &[(String, Origin)]| {
            let read = |rule: &(String, Origin)| HostRule::parse(&rule.0).ok().map(|parsed| (parsed, rule.clone()));
            let all: Vec<Entry> = list.iter().filter_map(read).collect();
            broken |= all.len() != list.len();
            all
        };
        let allow = lists.allow.iter().map(|list| entries(list)).collect();
        let deny = entries(&lists.deny);
        Self { allow, deny, broken }
    }

    /// Judges a connection by the name that the client gave. `method` is that of a plain HTTP request; a tunnel has none.
    pub fn judge(&self, target: &Target, method: Option<&str>) -> HostVerdict {
        let verdict = |reason, rule: Option<&Entry>| HostVerdict { reason, rule: rule.map(|entry| entry.1.clone()) };
        // A rule that denies and names no port denies them all; no method makes it weaker.
        let denies = |rule: &HostRule| rule.covers_host(&target.host) && rule.port.is_none_or(|port| port == target.port);
        if let Some(entry) = self.deny.iter().find(|(rule, _)| denies(rule)) {
            return verdict(HostReason::Denied, Some(entry));
        }
        if self.broken || self.allow.is_empty() {
            return verdict(HostReason::NotCovered, None);
        }
        let mut allowing = None;
        for list in &self.allow {
            let covering = list.iter().find(|(rule, _)| rule.covers(target, method));
            let Some(covering) = covering else {
                let by = |test: &dyn Fn(&HostRule) -> bool| list.iter().find(|(rule, _)| rule.covers_host(&target.host) && test(rule));
                let port = |rule: &HostRule| rule.port.map_or(WEB_PORTS.contains(&target.port), |port| port == target.port);
                return match (by(&port), by(&|_| true)) {
                    (Some(entry), _) => verdict(HostReason::Method, Some(entry)),
                    (None, Some(entry)) => verdict(HostReason::Port, Some(entry)),
                    (None, None) => verdict(HostReason::NotCovered, list.first()),
                };
            };
            allowing.get_or_insert(covering);
        }
        verdict(HostReason::Allowed, allowing)
    }

    /// Judges the address that an allowed name leads to: one that is not public only if a rule of every list names that very address, and none that is
    /// denied.
    pub fn judge_address(&self, address: IpAddr, port: u16, method: Option<&str>) -> HostVerdict {
        let address = plain(address);
        let verdict = self.judge(&Target { host: Host::Address(address), port }, method);
        match verdict.reason {
            HostReason::Denied | HostReason::Allowed => verdict,
            _ if is_public(address) => HostVerdict { reason: HostReason::Allowed, rule: None },
            _ => HostVerdict { reason: HostReason::NotPublic, ..verdict },
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(line: u32) -> Origin {
        Origin { file: "p.toml".to_owned(), line, group: None }
    }

    fn rules(allow: &[&[&str]], deny: &[&str]) -> HostRules {
        let list = |texts: &[&str]| texts.iter().zip(1..).map(|(text, line)| ((*text).to_owned(), origin(line))).collect::<Vec<_>>();
        HostRules::new(&HostLists { allow: allow.iter().map(|texts| list(texts)).collect(), deny: list(deny) })
    }

    fn judged(rules: &HostRules, target: &str, method: Option<&str>) -> HostReason {
        rules.judge(&Target::parse(target, 443).unwrap_or_else(|error| panic!("{target}: {error}")), method).reason
    }

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

    #[test]
    fn a_rule_covers_what_it_says_and_nothing_else() {
        use HostReason::{Allowed, Denied, Method, NotCovered, Port};
        let one = rules(
            &[&["example.org", "*.example.com:443", "GET,HEAD plain.example:80", "10.0.0.5:5432", "[::1]:8080"]],
            &["bad.example.com"],
        );
        for (target, method, expected) in [
            ("example.org", None, Allowed),
            ("EXAMPLE.org.", None, Allowed),
            ("example.org:80", None, Allowed),
            ("example.org:22", None, Port),
            ("a.example.org", None, NotCovered),
            ("example.org.evil.net", None, NotCovered),
            ("evilexample.org", None, NotCovered),
            ("a.example.com", None, Allowed),
            ("a.b.example.com", None, Allowed),
            ("example.com", None, NotCovered),
            ("xexample.com", None, NotCovered),
            ("a.example.com:80", None, Port),
            ("bad.example.com", None, Denied),
            ("bad.example.com:22", None, Denied),
            ("plain.example:80", Some("GET"), Allowed),
            ("plain.example:80", Some("POST"), Method),
            ("plain.example:80", None, Method),
            ("10.0.0.5:5432", None, Allowed),
            ("10.0.0.5", None, Port),
            ("[::1]:8080", None, Allowed),
            ("10.0.0.6:5432", None, NotCovered),
        ] {
            assert_eq!(judged(&one, target, method), expected, "{target} {method:?}");
        }
        // Every layer has to agree, and nothing means nothing.
        assert_eq!(judged(&rules(&[&["a.org", "b.org"], &["a.org"]], &[]), "a.org", None), Allowed);
        assert_eq!(judged(&rules(&[&["a.org", "b.org"], &["a.org"]], &[]), "b.org", None), NotCovered);
        assert_eq!(judged(&rules(&[&[]], &[]), "a.org", None), NotCovered);
        assert_eq!(judged(&rules(&[], &[]), "a.org", None), NotCovered);
        assert_eq!(judged(&rules(&[&["a.org", "no rule at all !"]], &[]), "a.org", None), NotCovered, "a rule that is none allows nothing");
    }

    #[test]
    fn an_address_that_is_not_public_needs_a_rule_of_its_own() {
        use HostReason::{Allowed, Denied, NotPublic};
        let one = rules(&[&["example.org", "10.0.0.5:5432"]], &["93.184.1.1"]);
        let judged = |address: &str, port| one.judge_address(address.parse().unwrap(), port, None).reason;
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "::10.0.0.1",
        ] {
            assert_eq!(judged(address, 443), NotPublic, "{address}");
        }
        for address in [
            "93.184.215.14",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:2800:21f::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(judged(address, 443), Allowed, "{address}");
        }
        assert_eq!(judged("10.0.0.5", 5432), Allowed);
        assert_eq!(judged("10.0.0.5", 443), NotPublic);
        assert_eq!(judged("93.184.1.1", 443), Denied, "a denied address is denied by whatever name");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_and_what_it_reads_it_reads_again(text in proptest::prelude::any::<String>(), ascii in "[ -~]{0,20}") {
            for text in [text, ascii] {
                if let Ok(host) = Host::parse(&text) {
                    proptest::prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
                }
                let _ = Target::parse(&text, 1);
                if let Ok(rule) = normal_rule(&text) {
                    proptest::prop_assert_eq!(normal_rule(&rule), Ok(rule));
                }
            }
        }
    }
}
