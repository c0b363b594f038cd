//! Host rules: their syntax, what a name means, and the one verdict on a connection.
//!
//! A rule is `example.org`, `*.example.org` (everything below it, and not itself), an IP address, or one of these with a port; without one it
//! means ports 80 and 443. `GET,HEAD example.org:80` covers plain HTTP with these methods alone. Names are compared as DNS knows them: lower case, ASCII
//! (UTS #46), without the dot at the end. What could mean two things to two programs is no name at all.
//!
//! Pure: nothing is looked up. That a name is allowed does not make each address that it leads to allowed: [`HostRules::judge_address`].

mod address;
mod target;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    address::{is_public, plain},
    target::{Host, NoHost, Target},
};
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
        let method = self.methods.is_empty() || method.is_some_and(|method| self.methods.iter().any(|known| known == method));
        self.covers_port(target.port) && method && self.covers_host(&target.host)
    }

    fn covers_port(&self, port: u16) -> bool {
        self.port.map_or(WEB_PORTS.contains(&port), |own| own == port)
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
    /// A rule does not parse, which loading excludes: nothing is allowed then.
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
                return match (by(&|rule| rule.covers_port(target.port)), by(&|_| true)) {
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
