//! A server that is reached over HTTP: its address, and the headers that it is sent. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::host::{Host, Target};

/// The longest address in bytes.
const URL_CAP: usize = 2048;
/// Headers that belong to the protocol or to HTTP itself, and that nobody sets.
const NOT_SET: [&str; 12] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
    "user-agent",
];

/// A server that is reached over streamable HTTP. What is secret is named by its variable and never stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Its address: `https`, or `http` without encryption.
    pub url: String,
    /// The variable that holds a bearer token (RFC 6750).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<String>,
    /// The variable that holds the value of each header.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Why an address or a header cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// It is no address of a server.
    #[error("`url` is no address of a server: {why}")]
    Url {
        /// What is wrong.
        why: String,
    },
    /// A header that nobody sets.
    #[error("the header {name} is not for you to set{}", if name.eq_ignore_ascii_case("authorization") { "; `bearer` names the variable that holds a token" } else { "" })]
    Header {
        /// Its name.
        name: String,
    },
    /// No name of a header.
    #[error("{name} is no name of a header (RFC 9110 section 5.1)", name = name.escape_debug())]
    HeaderName {
        /// The text.
        name: String,
    },
}

impl Remote {
    /// Checks what a person wrote, and writes the address in the one form that all its spellings come to.
    ///
    /// # Errors
    /// If the address leads nowhere or could be read in two ways, or a header is not for anybody to set.
    pub fn new(url: &str, bearer: Option<String>, headers: BTreeMap<String, String>) -> Result<Self, RemoteError> {
        let (parsed, _) = understood(url)?;
        for name in headers.keys() {
            if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(RemoteError::HeaderName { name: name.clone() });
            }
            if NOT_SET.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                return Err(RemoteError::Header { name: name.clone() });
            }
        }
        Ok(Self { url: parsed.into(), bearer, headers })
    }

    /// The rule of a policy that covers it: its host and its port.
    ///
    /// # Errors
    /// If the address was never checked, and is none.
    pub fn host(&self) -> Result<String, RemoteError> {
        understood(&self.url).map(|(_, target)| target.to_string())
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.url.starts_with("https:")
    }

    /// The variables whose values it is sent.
    pub fn variables(&self) -> impl Iterator<Item = &String> {
        self.bearer.iter().chain(self.headers.values())
    }
}

fn understood(url: &str) -> Result<(reqwest::Url, Target), RemoteError> {
    let wrong = |why: &str| RemoteError::Url { why: why.to_owned() };
    if url.len() > URL_CAP || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong("it is too long, or holds spaces or control characters"));
    }
    let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(wrong("it begins with neither https:// nor http://"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("a name or password in it would be on record; `bearer` names the variable that holds a token"));
    }
    if parsed.fragment().is_some() {
        return Err(wrong("what stands behind # is never sent"));
    }
    let host = parsed.host_str().ok_or_else(|| wrong("it names no host"))?;
    let host = Host::parse(host).map_err(|error| wrong(&error.to_string()))?;
    if host == Host::Name("localhost".to_owned()) {
        return Err(wrong("localhost means the sandbox itself there; write 127.0.0.1 or [::1]"));
    }
    let port = parsed.port_or_known_default().filter(|port| *port > 0).ok_or_else(|| wrong("it has no port"))?;
    Ok((parsed, Target { host, port }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::host::normal_rule;

    fn remote(url: &str) -> Result<Remote, RemoteError> {
        Remote::new(url, None, BTreeMap::new())
    }

    #[test]
    fn an_address_is_written_in_one_way_and_its_rule_covers_just_its_host_and_port() {
        for (written, url, host) in [
            ("https://Example.ORG/mcp", "https://example.org/mcp", "example.org:443"),
            ("http://127.0.0.1:8000/mcp?a=b", "http://127.0.0.1:8000/mcp?a=b", "127.0.0.1:8000"),
            ("http://[::1]:9/", "http://[::1]:9/", "[::1]:9"),
            ("https://ex\u{e4}mple.org", "https://xn--exmple-cua.org/", "xn--exmple-cua.org:443"),
            // As every client of HTTP reads it, and written out so.
            ("http://0x7f.1:80/", "http://127.0.0.1/", "127.0.0.1:80"),
        ] {
            let remote = remote(written).unwrap();
            assert_eq!((remote.url.as_str(), remote.host().unwrap().as_str()), (url, host));
            assert_eq!(normal_rule(host).unwrap(), host);
        }
    }

    #[test]
    fn what_leads_nowhere_or_carries_a_secret_is_no_address() {
        for url in [
            "",
            "example.org/mcp",
            "ftp://example.org/",
            "file:///etc/passwd",
            "https://user:word@example.org/",
            "https://user@example.org/",
            "https://example.org/#part",
            "https://example.org/a b",
            "https:///",
            "http://localhost:8000/mcp",
            "http://LOCALHOST./mcp",
            "http://example.org:0/",
            "http://exa%00mple.org/",
            "http+unix://x/",
        ] {
            assert!(remote(url).is_err(), "{url}");
        }
        assert!(remote(&format!("https://example.org/{}", "x".repeat(URL_CAP))).is_err());
    }

    #[test]
    fn a_header_of_the_protocol_is_not_for_anybody_to_set() {
        let with = |name: &str| Remote::new("https://example.org/", None, BTreeMap::from([(name.to_owned(), "VARIABLE".to_owned())]));
        assert!(with("X-Api-Key").is_ok());
        for name in ["Authorization", "host", "MCP-Session-Id", "Transfer-Encoding", "a b", "x:y", "", "x\r\ny"] {
            assert!(with(name).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn an_address_that_is_taken_stays_what_it_is(url in "(https?://)?[a-zA-Z0-9.@:%#?/\\[\\]\u{e4}-]{0,40}") {
            if let Ok(one) = remote(&url) {
                prop_assert_eq!(&remote(&one.url).unwrap(), &one);
                prop_assert!(normal_rule(&one.host().unwrap()).is_ok());
            }
        }
    }
}
