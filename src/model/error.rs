//! What can go wrong between portcullis and a model. No message contains the key, and text from a server is escaped and cut.

use std::time::Duration;

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The endpoint's settings cannot be used.
    #[error("the model endpoint cannot be used: {why}")]
    BadEndpoint {
        /// What is wrong, and the remedy where there is one.
        why: String,
    },
    /// The HTTP client could not be made, for example because the system has no root certificates.
    #[error("the HTTP client could not be made: {why}")]
    Setup {
        /// What the library said.
        why: String,
    },
    /// No connection.
    #[error("cannot connect to {host}: {why}")]
    Connect {
        /// Host, and port where it is not the usual one.
        host: String,
        /// What the system said.
        why: String,
    },
    /// The server could not prove who it is, or speaks no TLS. Not retried.
    #[error("no trusted TLS connection to {host}: {why}")]
    Tls {
        /// Host, and port where it is not the usual one.
        host: String,
        /// What the TLS library said.
        why: String,
    },
    /// The server did not begin to answer.
    #[error("{host} did not answer within {after:?}")]
    NoAnswer {
        /// Host, and port where it is not the usual one.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The server answered with an HTTP status other than 200.
    #[error("the model endpoint answered {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The server's own message.
        message: String,
    },
    /// The response failed after it had begun (`response.failed` or an `error` event).
    #[error("the model endpoint failed ({code}): {message}")]
    Failed {
        /// The server's code, `unknown` if it gave none.
        code: String,
        /// The server's own message.
        message: String,
    },
    /// The prompt is longer than the model can read.
    #[error("the conversation is too long for the model: {message}")]
    ContextLength {
        /// The server's own message.
        message: String,
    },
    /// The stream ended before the response was complete.
    #[error("the response was cut off: {why}")]
    Interrupted {
        /// What happened.
        why: String,
    },
    /// The server asks to wait longer than portcullis waits by itself.
    #[error("the model endpoint asks to wait {asked:?}: {message}")]
    WaitTooLong {
        /// The wait that was asked for.
        asked: Duration,
        /// The server's own message.
        message: String,
    },
    /// The response is larger than portcullis reads. Not retried.
    #[error("the response is too large: {why}")]
    TooLarge {
        /// Which limit.
        why: String,
    },
    /// The server does not speak the Responses API. Not retried.
    #[error("the endpoint does not speak the Responses API: {why}")]
    Protocol {
        /// What it sent instead.
        why: String,
    },
    /// Every try failed.
    #[error("gave up after {attempts} requests; the last one failed so: {last}")]
    Exhausted {
        /// How many requests were made.
        attempts: u32,
        /// Why the last one failed.
        last: Box<ModelError>,
    },
}

/// An error and what caused it, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Wrappers often repeat what they wrap.
        if !out.ends_with(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        next = cause.source();
    }
    out
}
