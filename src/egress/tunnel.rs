//! A tunnel to a host that was allowed. What a client says first decides what it is: a TLS handshake must name the very host; plain HTTP is
//! served request by request, each judged by the host that it names; anything else passes, but not on port 443.

use std::{io, sync::Arc, time::Duration};

use rustls::server::Acceptor;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    time::timeout,
};

use super::{
    http,
    message::{Ending, LONGEST_NAMED},
    meter::Metered,
    serve::{Context, Report},
};
use crate::policy::host::{Host, Target};

/// The first byte of a TLS handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// The longest beginning that is looked at: a handshake of four records.
const LONGEST_HELLO: usize = 64 * 1024;
/// How long a client may take to finish a beginning.
const HELLO: Duration = Duration::from_secs(30);

/// What a client of a tunnel said first.
enum Beginning {
    /// Nothing that has to be looked into.
    Other,
    /// Plain HTTP.
    Http,
    /// Nothing: it has closed, or the host has.
    Closed,
}

/// Runs a tunnel to its end.
pub(super) async fn run<C>(mut client: C, host: TcpStream, target: &Target, mut report: Report, context: &Arc<Context>)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let meter = report.meter.clone();
    let mut host = Metered::new(host, meter.clone());
    let mut said = Vec::new();
    let looked = tokio::select! {
        looked = begin(&mut client, &mut host, target, &mut said) => looked,
        () = meter.idle() => return,
    };
    match looked {
        Err(ending) => report.ended(ending),
        Ok(Beginning::Closed) => {}
        Ok(Beginning::Http) => {
            drop(host);
            report.forget();
            let (reader, writer) = tokio::io::split(client);
            let client = tokio::io::join(io::Cursor::new(said).chain(reader), writer);
            http::serve(client, context, Some(target.clone())).await;
        }
        Ok(Beginning::Other) => {
            let passing = async {
                host.write_all(&said).await?;
                copy_bidirectional(&mut client, &mut host).await.map(drop)
            };
            tokio::select! {
                // A connection that breaks ends like one that is closed.
                _ = passing => {}
                () = meter.idle() => {}
            }
        }
    }
}

/// Waits for the client's first words, and passes on what the host says until then.
async fn begin<C>(client: &mut C, host: &mut Metered<TcpStream>, target: &Target, said: &mut Vec<u8>) -> Result<Beginning, Ending>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let (mut ours, mut theirs) = ([0; 4096], [0; 4096]);
    loop {
        tokio::select! {
            read = client.read(&mut ours) => match read {
                Ok(length) if length > 0 => {
                    said.extend_from_slice(&ours[..length]);
                    break;
                }
                _ => return Ok(Beginning::Closed),
            },
            read = host.read(&mut theirs) => match read {
                Ok(length) if length > 0 => if client.write_all(&theirs[..length]).await.is_err() { return Ok(Beginning::Closed) },
                _ => return Ok(Beginning::Closed),
            },
        }
    }
    let rest = async {
        if said.first() == Some(&HANDSHAKE) {
            return handshake(client, target, said).await;
        }
        // A method is told from other protocols by its first blank.
        while said.len() < 20 && said.iter().all(u8::is_ascii_uppercase) {
            let length = client.read(&mut ours).await.unwrap_or(0);
            if length == 0 {
                break;
            }
            said.extend_from_slice(&ours[..length]);
        }
        let method = said.iter().position(|byte| *byte == b' ').filter(|blank| (1..20).contains(blank));
        if method.is_some_and(|blank| said[..blank].iter().all(u8::is_ascii_uppercase)) {
            return Ok(Beginning::Http);
        }
        if target.port == 443 {
            return Err(Ending::NoHost("what is said to port 443 has to be a TLS handshake that names the host".to_owned()));
        }
        Ok(Beginning::Other)
    };
    timeout(HELLO, rest).await.unwrap_or_else(|_| Err(Ending::NoHost("the client did not finish what it began to say".to_owned())))
}

/// Reads on to the end of a client's hello, whose server name must be the target's.
async fn handshake<C: AsyncRead + Unpin>(client: &mut C, target: &Target, said: &mut Vec<u8>) -> Result<Beginning, Ending> {
    let no_hello = |why: String| Ending::NoHost(format!("no TLS handshake that is understood: {why}"));
    let mut acceptor = Acceptor::default();
    let mut fed = 0;
    loop {
        while fed < said.len() {
            fed += acceptor.read_tls(&mut said.get(fed..).unwrap_or_default()).map_err(|error| no_hello(error.to_string()))?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let named = accepted.client_hello().server_name().map(str::to_owned);
                return match (&target.host, named) {
                    // Of an address no name is asked for (RFC 6066 section 3).
                    (Host::Address(_), None) => Ok(Beginning::Other),
                    (host, Some(name)) if Host::parse(&name).as_ref() == Ok(host) => Ok(Beginning::Other),
                    (_, Some(name)) => Err(Ending::OtherName(name.chars().take(LONGEST_NAMED).collect())),
                    (_, None) => Err(Ending::OtherName("none, in a TLS handshake".to_owned())),
                };
            }
            Ok(None) if said.len() < LONGEST_HELLO => {}
            Ok(None) => return Err(no_hello("it is too long".to_owned())),
            Err((error, _)) => return Err(no_hello(error.to_string())),
        }
        let mut bytes = [0; 4096];
        match client.read(&mut bytes).await {
            Ok(length) if length > 0 => said.extend_from_slice(&bytes[..length]),
            _ => return Ok(Beginning::Closed),
        }
    }
}
