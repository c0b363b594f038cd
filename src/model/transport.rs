//! The HTTP client below [`super::Client`], and what it needs to know of HTTP.

use super::{Endpoint, ModelError, error::causes};
use futures_util::StreamExt;
use reqwest::{
    Response,
    header::{CONTENT_TYPE, HeaderMap},
};
use std::time::Duration;
use tokio::time::timeout;

/// How much of a failed request's body is read for its message, in bytes.
const MAX_ERROR_BODY: usize = 64 << 10;

/// The first bytes of a failed request's body, and no more than come within `patience`; what cannot be read is left out.
pub(super) async fn read_some(response: Response, patience: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    let read = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            let room = MAX_ERROR_BODY - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == MAX_ERROR_BODY {
                break;
            }
        }
    };
    // A body that drips without end still has told its message by then.
    let _ = timeout(patience, read).await;
    body
}

/// A login page or a plain JSON answer is not a stream. A missing or vague content type is let through.
pub(super) fn not_events(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "application/json" | "text/html" | "application/xml" | "text/xml")
        .then(|| format!("it answered with {kind} instead of an event stream"))
}

/// Whether TLS is why a request could not be sent.
pub(super) fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    // The source of an I/O error is the source of the error that it wraps, which would skip that error itself.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => is_tls(wrapped),
        None => error.source().is_some_and(is_tls),
    }
}

/// A client with redirects, proxies and retries off, one kept connection, and root certificates for `https` only.
pub(super) fn http_client(endpoint: &Endpoint) -> Result<reqwest::Client, ModelError> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .pool_max_idle_per_host(1)
        .connect_timeout(endpoint.connect_timeout)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
    let provider = rustls::crypto::ring::default_provider();
    let builder = if endpoint.is_https() {
        // Fails if there is a provider already, which serves as well.
        let _ = provider.install_default();
        builder.https_only(true)
    } else {
        // Reading the system's root certificates takes tens of milliseconds; a connection without TLS needs none.
        let tls = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| ModelError::Setup { why: error.to_string() })?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder.tls_backend_preconfigured(tls)
    };
    builder.build().map_err(|error| ModelError::Setup { why: causes(&error) })
}
