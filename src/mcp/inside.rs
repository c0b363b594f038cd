//! What stands in the sandbox of a server that is reached over HTTP: it passes messages on, line by line on the one side and as streamable HTTP
//! (specification of the Model Context Protocol, "Transports") on the other.
//!
//! Everything that the server answers is taken apart here, under the server's own policy: the agent sees whole messages alone, as from any other
//! server. The one way out is the proxy of the policy's hosts.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use reqwest::header::{HeaderName, HeaderValue};
use rmcp::{
    RoleServer,
    model::{ClientJsonRpcMessage, ErrorData, RequestId, ServerJsonRpcMessage},
    transport::{
        StreamableHttpClientTransport, Transport,
        async_rw::AsyncRwTransport,
        streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::unix::pipe,
    task::{JoinError, JoinSet},
};

use super::remote::Remote;
use crate::{egress, model::causes};

/// The longest first line, which says what to connect to.
const FIRST_CAP: usize = 64 * 1024;
/// The longest message in bytes; the agent reads no longer one.
const MESSAGE_CAP: usize = 16 * 1024 * 1024;
/// How long it may take to reach the proxy and what is behind it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// Names a file with the certificates of authorities to trust instead of the system's, as OpenSSL has it.
const AUTHORITIES: &str = "SSL_CERT_FILE";

/// Passes messages on until one side has no more. In words what went wrong, for standard error.
///
/// # Errors
/// If there was nothing to connect to, or the connection failed for good.
pub fn serve(environment: &[(String, String)]) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(words)?;
    runtime.block_on(async {
        let owned = |stream: BorrowedFd<'_>| stream.try_clone_to_owned();
        let mut input = owned(io::stdin().as_fd()).and_then(pipe::Receiver::from_owned_fd).map_err(words)?;
        let output = owned(io::stdout().as_fd()).and_then(pipe::Sender::from_owned_fd).map_err(words)?;
        let remote: Remote = first_line(&mut input).await?;
        let client = client(environment)?;
        let transport = StreamableHttpClientTransport::with_client(client, config(&remote, environment)?);
        let agent = AsyncRwTransport::new_server(input, output).with_max_line_length(MESSAGE_CAP);
        pass_on(agent, transport).await
    })
}

/// The first line, which is not the protocol's. Byte by byte, because what follows it is.
async fn first_line(input: &mut (impl AsyncRead + Unpin)) -> Result<Remote, String> {
    let mut line = Vec::new();
    loop {
        match input.read_u8().await {
            Ok(b'\n') => break,
            Ok(byte) if line.len() < FIRST_CAP => line.push(byte),
            Ok(_) => return Err("what to connect to is too long".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
    serde_json::from_slice(&line).map_err(|error| error.to_string())
}

fn client(environment: &[(String, String)]) -> Result<reqwest::Client, String> {
    let words = |error: reqwest::Error| causes(&error);
    // Fails if there is a provider already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let proxy = reqwest::Proxy::all(format!("http://127.0.0.1:{}", egress::PORT)).map_err(words)?;
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .proxy(proxy)
        .connect_timeout(CONNECT_PATIENCE)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
    if let Some(file) = value(environment, AUTHORITIES) {
        let text = std::fs::read(file).map_err(|error| format!("{file}, which {AUTHORITIES} names, cannot be read: {error}"))?;
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&text).map_err(words)?);
    }
    builder.build().map_err(words)
}

fn value<'a>(environment: &'a [(String, String)], variable: &str) -> Option<&'a str> {
    environment.iter().find(|(name, _)| name == variable).map(|(_, value)| value.as_str())
}

fn config(remote: &Remote, environment: &[(String, String)]) -> Result<StreamableHttpClientTransportConfig, String> {
    let of = |variable: &String| value(environment, variable).ok_or_else(|| format!("the variable {variable} is not set"));
    let mut config = StreamableHttpClientTransportConfig::with_uri(remote.url.clone());
    if let Some(variable) = &remote.bearer {
        config = config.auth_header(of(variable)?);
    }
    let mut headers = HashMap::new();
    for (name, variable) in &remote.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        let mut value = HeaderValue::from_str(of(variable)?).map_err(|_| format!("what {variable} holds is no value of a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(config.custom_headers(headers))
}

/// A message that was sent: the id of a request, and what came of it.
type Sent = (Option<RequestId>, Result<(), StreamableHttpError<reqwest::Error>>);

/// From the one side to the other, and back.
async fn pass_on(mut agent: impl Transport<RoleServer>, mut server: StreamableHttpClientTransport<reqwest::Client>) -> Result<(), String> {
    let mut sending = JoinSet::new();
    loop {
        tokio::select! {
            message = agent.receive() => {
                let Some(message) = message else { break };
                let id = match &message {
                    ClientJsonRpcMessage::Request(request) => Some(request.id.clone()),
                    _ => None,
                };
                let sent = server.send(message);
                sending.spawn(async move { (id, sent.await) });
            }
            Some(sent) = sending.join_next() => tell(&mut agent, sent).await?,
            message = server.receive() => {
                let Some(message) = message else {
                    // What ended it is said by what was being sent.
                    while let Some(sent) = sending.join_next().await {
                        tell(&mut agent, sent).await?;
                    }
                    return Err("the server is not reached any more".to_owned());
                };
                agent.send(message).await.map_err(|error| error.to_string())?;
            }
        }
    }
    server.close().await.map_err(|error| words(&error))
}

/// Answers a request that could not be sent: whoever asked would wait for an answer that nobody gives.
async fn tell(agent: &mut impl Transport<RoleServer>, sent: Result<Sent, JoinError>) -> Result<(), String> {
    let Ok((id, Err(error))) = sent else { return Ok(()) };
    let why = words(&error);
    let Some(id) = id else { return Err(why) };
    let answer = ServerJsonRpcMessage::error(ErrorData::internal_error(why, None), Some(id));
    agent.send(answer).await.map_err(|error| error.to_string())
}

/// An error with its causes, which that of the client has and the one around it does not name.
fn words(error: &StreamableHttpError<reqwest::Error>) -> String {
    match error {
        StreamableHttpError::Client(error) => causes(error),
        other => causes(other),
    }
}
