//! Posting to a collector: with a limit on time and on tries, and with every failure told.

use std::time::Duration;

use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;

use super::Signal;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the same request is sent.
const TRIES: u32 = 4;
/// How long is waited before the second try; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(250);
/// How much of an answer is read, in bytes.
const ANSWER_CAP: usize = 64 * 1024;

/// Why something was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The address cannot be posted to.
    #[error(
        "`{0}` cannot be posted to: it is to be http://HOST:PORT or https://HOST:PORT, without a password; headers are taken from OTEL_EXPORTER_OTLP_HEADERS"
    )]
    Address(String),
    /// OTEL_EXPORTER_OTLP_HEADERS is no list of headers. Its values may be secret and are not shown.
    #[error("OTEL_EXPORTER_OTLP_HEADERS is to be NAME=VALUE,NAME=VALUE")]
    Headers,
    /// The client cannot be made.
    #[error("no connection can be made: {0}")]
    Setup(String),
    /// It did not arrive.
    #[error("{path} took nothing after {tries} tries: {why}")]
    NotTaken {
        /// Where.
        path: &'static str,
        /// How often it was tried.
        tries: u32,
        /// What went wrong, the last time.
        why: String,
    },
    /// It arrived, and not all of it was kept.
    #[error("{path} rejected {rejected} of what was sent: {why}")]
    Rejected {
        /// Where.
        path: &'static str,
        /// How many records or spans.
        rejected: u64,
        /// What the collector says.
        why: String,
    },
}

/// A collector.
#[derive(Debug)]
pub struct Collector {
    client: Client,
    base: String,
    headers: HeaderMap,
}

impl Collector {
    /// At an address; `headers` as the OpenTelemetry specification has them in `OTEL_EXPORTER_OTLP_HEADERS`.
    ///
    /// # Errors
    /// If the address is none, or TLS cannot be set up.
    pub fn new(address: &str, headers: Option<&str>) -> Result<Self, DeliveryError> {
        let wrong = || DeliveryError::Address(without_password(address));
        let url = Url::parse(address).map_err(|_| wrong())?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
            return Err(wrong());
        }
        // Fails if there is a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .retry(reqwest::retry::never())
            .timeout(PATIENCE)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| DeliveryError::Setup(error.to_string()))?;
        Ok(Self { client, base: url.as_str().trim_end_matches('/').to_owned(), headers: parse_headers(headers.unwrap_or_default())? })
    }

    /// The address.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Posts one request, again where the specification says that it may be.
    ///
    /// # Errors
    /// If it does not arrive, or not all of it is kept.
    pub async fn post(&self, signal: Signal, body: String) -> Result<(), DeliveryError> {
        let path = signal.path();
        let body = bytes::Bytes::from(body);
        let mut tries = 0;
        loop {
            tries += 1;
            let request = self.client.post(format!("{}{path}", self.base)).headers(self.headers.clone());
            let (why, again) = match request.header(CONTENT_TYPE, "application/json").body(body.clone()).send().await {
                Ok(answer) if answer.status() == StatusCode::OK => return kept(path, answer).await,
                // The only ones that may be tried again, by the OTLP specification.
                Ok(answer) => (format!("it answered {}", answer.status()), matches!(answer.status().as_u16(), 429 | 502 | 503 | 504)),
                Err(error) => (innermost(&error), !error.is_builder()),
            };
            if !again || tries == TRIES {
                return Err(DeliveryError::NotTaken { path, tries, why });
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
        }
    }
}

/// Looks whether the collector says that it kept only a part.
async fn kept(path: &'static str, mut answer: reqwest::Response) -> Result<(), DeliveryError> {
    let mut body = Vec::new();
    while let Ok(Some(part)) = answer.chunk().await {
        body.extend(part.iter().take(ANSWER_CAP - body.len()));
        if body.len() == ANSWER_CAP {
            break;
        }
    }
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let part = said.get("partialSuccess");
    let count = |name: &str| {
        let value = part?.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    match count("rejectedLogRecords").or_else(|| count("rejectedSpans")) {
        Some(rejected) if rejected > 0 => {
            let why = part.and_then(|part| part.get("errorMessage")?.as_str()).unwrap_or("it does not say why");
            Err(DeliveryError::Rejected { path, rejected, why: why.chars().take(500).collect() })
        }
        _ => Ok(()),
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn without_password(address: &str) -> String {
    address.rsplit_once('@').map_or_else(|| address.to_owned(), |(_, behind)| format!("…@{behind}"))
}

fn parse_headers(text: &str) -> Result<HeaderMap, DeliveryError> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(DeliveryError::Headers)?;
        let name: HeaderName = name.trim().parse().map_err(|_| DeliveryError::Headers)?;
        let mut value: HeaderValue = value.trim().parse().map_err(|_| DeliveryError::Headers)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        let error = Collector::new("http://me:secret@localhost:4318", None).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        for wrong in ["", "localhost:4318", "file:///etc/passwd", "http://h/?token=x"] {
            assert!(matches!(Collector::new(wrong, None), Err(DeliveryError::Address(_))), "{wrong}");
        }
        assert_eq!(Collector::new("http://localhost:4318/", None).unwrap().address(), "http://localhost:4318");
        assert!(matches!(Collector::new("http://localhost:4318", Some("no value")), Err(DeliveryError::Headers)));
    }
}
