//! SOCKS5 (RFC 1928): `CONNECT` without authentication. Names are judged as names; clients are told to hand them on (`socks5h`).

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use fast_socks5::{ReplyError, Socks5Command, server::Socks5ServerProtocol, util::target_addr::TargetAddr};
use tokio::{net::TcpStream, time::timeout};

use super::{
    dial::dial,
    message::{Ending, Protocol},
    serve::{Context, Report},
    tunnel,
};
use crate::policy::host::Target;

/// How long a client may take to ask.
const ASKING: Duration = Duration::from_secs(30);

/// Serves one client.
pub(super) async fn serve(stream: TcpStream, context: &Arc<Context>) {
    let asked = async { Socks5ServerProtocol::accept_no_auth(stream).await?.read_command().await };
    let Ok(Ok((client, command, address))) = timeout(ASKING, asked).await else {
        Report::new(context, "", Protocol::Socks, None).ended(Ending::NoHost("no request of SOCKS5 that is understood".to_owned()));
        return;
    };
    let named = match &address {
        TargetAddr::Ip(address) => address.to_string(),
        TargetAddr::Domain(name, port) => format!("{name}:{port}"),
    };
    let (target, name) = match Target::parse(&named, 0) {
        Ok(target) => (Ok(target.clone()), target.to_string()),
        Err(error) => (Err(error), named),
    };
    let mut report = Report::new(context, &name, Protocol::Socks, None);
    let target = match target {
        _ if command != Socks5Command::TCPConnect => {
            report.ended(Ending::NoHost("only connections over TCP are made".to_owned()));
            let _ = client.reply_error(&ReplyError::CommandNotSupported).await;
            return;
        }
        Ok(target) => target,
        Err(error) => {
            report.ended(Ending::NoHost(error.to_string()));
            let _ = client.reply_error(&ReplyError::ConnectionNotAllowed).await;
            return;
        }
    };
    match dial(&context.rules, &target, None).await {
        Ok(dialled) => {
            report.dialled(&dialled);
            // What the client would learn of the host's own addresses is nothing that it needs.
            let Ok(client) = client.reply_success(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await else { return };
            tunnel::run(client, dialled.stream, &target, report, context).await;
        }
        Err(not) => {
            report.not_dialled(&not);
            let reply = match not.ending {
                Ending::Unreachable(_) => ReplyError::HostUnreachable,
                _ => ReplyError::ConnectionNotAllowed,
            };
            let _ = client.reply_error(&reply).await;
        }
    }
}
