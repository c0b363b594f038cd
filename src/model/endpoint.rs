//! Where the model is, and how long to wait for it.

use super::{Features, ModelError, Prices, Style, Transport, compaction::Method, retry::Backoff, sse::Limits};
use reqwest::Url;
use std::{fmt, net::IpAddr, time::Duration};

/// The least that OpenAI's models of today take, in tokens.
const OPENAI_WINDOW: u64 = 272_000;

/// A key. It has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a key; white space around it (a newline from a file) is not part of it.
    pub fn new(key: &str) -> Self {
        Self(key.trim().to_owned())
    }

    /// The key itself, for the one place that sends it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

/// A Responses endpoint and the limits that hold for it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base_url: Url,
    /// The model's name as the endpoint knows it.
    pub model: String,
    /// The key, if the endpoint wants one.
    pub key: Option<Secret>,
    /// The environment variable that the key came from or should come from; named in messages.
    pub key_variable: String,
    /// Longest wait for a connection, name look-up and TLS included. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest wait from the request to the head of the response. Default 120 s: some servers read the whole prompt first.
    pub response_timeout: Duration,
    /// Sizes of a response, and the longest silence in one.
    pub limits: Limits,
    /// When and how often to ask again.
    pub backoff: Backoff,
    /// Tokens that the model takes at most, input and output together; none where that is not known.
    pub context_window: Option<u64>,
    /// The share of that window, in percent, at which a conversation is made shorter. Default 85.
    pub compact_at: u8,
    /// By what means it is made shorter there.
    pub compaction: Method,
    /// What it takes beyond the least, or lacks.
    pub features: Features,
    /// The header in which the key is sent as it is; by default it is `Authorization`, with `Bearer` before it.
    pub key_header: Option<String>,
    /// The version that is asked for in each address, as Azure does.
    pub api_version: Option<String>,
    /// How requests are sent.
    pub transport: Transport,
    /// Whether bodies are compressed (zstd), which not every endpoint takes; one that does not is sent them as they are from then on.
    pub compress: bool,
    /// How its model is to think and to answer.
    pub style: Style,
    /// What its tokens cost, if the person says so.
    pub prices: Option<Prices>,
}

impl Endpoint {
    /// An endpoint at `base_url` (such as `https://api.openai.com/v1`; requests go to `{base_url}/responses`), with no key,
    /// `OPENAI_API_KEY` as the key's variable, and the default limits.
    ///
    /// # Errors
    /// [`ModelError::BadEndpoint`] unless the URL is `http` or `https`, has a host, and has no user, password, query or fragment.
    pub fn new(base_url: &str, model: &str) -> Result<Self, ModelError> {
        let base_url = validated(base_url)?;
        let openai = base_url.host_str() == Some("api.openai.com");
        Ok(Self {
            base_url,
            model: model.to_owned(),
            key: None,
            key_variable: "OPENAI_API_KEY".to_owned(),
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(120),
            limits: Limits::default(),
            backoff: Backoff::default(),
            context_window: openai.then_some(OPENAI_WINDOW),
            features: Features::default(),
            key_header: None,
            api_version: None,
            transport: Transport::default(),
            compress: false,
            style: Style::default(),
            prices: None,
            compact_at: 85,
            compaction: if openai { Method::Call } else { Method::Summary },
        })
    }

    /// The same endpoint with a key; an empty one counts as none.
    #[must_use]
    pub fn with_key(mut self, key: Secret) -> Self {
        self.key = (!key.0.is_empty()).then_some(key);
        self
    }

    /// The base URL, without a slash at its end.
    pub fn base_url(&self) -> &str {
        self.base_url.as_str().trim_end_matches('/')
    }

    /// Where requests are sent.
    pub(super) fn responses_url(&self) -> Result<Url, ModelError> {
        let mut url = Url::parse(&format!("{}/responses", self.base_url())).map_err(|error| bad(error.to_string()))?;
        if let Some(version) = &self.api_version {
            url.query_pairs_mut().append_pair("api-version", version);
        }
        Ok(url)
    }

    /// Whether requests go over TLS.
    pub(super) fn is_https(&self) -> bool {
        self.base_url.scheme() == "https"
    }

    /// Host, and port where it is not the usual one.
    pub(super) fn host(&self) -> String {
        let host = self.base_url.host_str().unwrap_or_default();
        self.base_url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Whether it is on this machine, where a key is often not needed.
    pub fn is_local(&self) -> bool {
        is_loopback(&self.base_url)
    }

    /// Refuses to send a key where anyone on the way can read it.
    pub(super) fn check_key_is_safe(&self) -> Result<(), ModelError> {
        if self.key.is_none() || self.is_https() || is_loopback(&self.base_url) {
            return Ok(());
        }
        Err(bad(format!(
            "the key from {} would be sent unencrypted to {}; use an https URL, or run without a key",
            self.key_variable,
            self.host()
        )))
    }
}

fn validated(text: &str) -> Result<Url, ModelError> {
    // The URL is not repeated in messages: it may hold a password.
    let url = Url::parse(text.trim()).map_err(|error| bad(format!("its base URL is not a URL ({error})")))?;
    let why = if !matches!(url.scheme(), "http" | "https") {
        "its base URL must begin with http:// or https://"
    } else if url.host_str().is_none_or(str::is_empty) {
        "its base URL names no host"
    } else if !url.username().is_empty() || url.password().is_some() {
        "its base URL must not contain a user or password; name the key's environment variable instead"
    } else if url.query().is_some() || url.fragment().is_some() {
        "its base URL must not contain a query (?) or fragment (#)"
    } else {
        return Ok(url);
    };
    Err(bad(why.to_owned()))
}

fn bad(why: String) -> ModelError {
    ModelError::BadEndpoint { why }
}

// `localhost` is loopback by RFC 6761, 6.3.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_web_addresses_are_taken() {
        for url in [
            "ftp://x/v1",
            "file:///etc/passwd",
            "http://",
            "https://u:pw@h/v1",
            "https://u@h",
            "https://h/v1?x=1",
            "https://h/#f",
            "h/v1",
            "",
        ] {
            let error = Endpoint::new(url, "m").unwrap_err();
            assert!(!error.to_string().contains("pw"), "{error}");
        }
        for (url, base) in
            [("https://h/v1/", "https://h/v1"), ("http://[::1]:8080", "http://[::1]:8080"), (" https://H/v1 ", "https://h/v1")]
        {
            let endpoint = Endpoint::new(url, "m").unwrap();
            assert_eq!(endpoint.base_url(), base);
            assert_eq!(endpoint.responses_url().unwrap().as_str(), format!("{base}/responses"));
        }
    }

    #[test]
    fn a_key_goes_unencrypted_to_this_machine_only() {
        let safe = |url: &str| Endpoint::new(url, "m").unwrap().with_key(Secret::new("sk-x")).check_key_is_safe();
        for url in [
            "https://example.com/v1",
            "http://127.0.0.1:1/v1",
            "http://127.9.9.9",
            "http://localhost:1",
            "http://[::1]/v1",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(safe(url), Ok(()), "{url}");
        }
        for url in
            ["http://example.com/v1", "http://localhost.example.com", "http://10.0.0.1", "http://0.0.0.0", "http://127.0.0.1.example.com"]
        {
            let error = safe(url).unwrap_err().to_string();
            assert!(error.contains("OPENAI_API_KEY") && !error.contains("sk-x"), "{error}");
        }
        assert_eq!(Endpoint::new("http://example.com", "m").unwrap().check_key_is_safe(), Ok(()));
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let endpoint = Endpoint::new("https://h", "m").unwrap().with_key(Secret::new(" sk-secret\n"));
        assert!(!format!("{endpoint:?}").contains("sk-"));
        assert_eq!(endpoint.key.unwrap().reveal(), "sk-secret");
    }

    proptest! {
        #[test]
        fn no_url_panics(url in "(http|https|HTTP|x)?(://|:|)[\\[\\]@:/?#a-z0-9.%\\PC]{0,30}") {
            if let Ok(endpoint) = Endpoint::new(&url, "m") {
                prop_assert!(endpoint.responses_url().is_ok());
            }
        }
    }
}
