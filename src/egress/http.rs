//! HTTP: plain requests are sent on, each judged for itself and over a connection of its own; `CONNECT` becomes a tunnel.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1 as client,
    header::{self, HeaderName, HeaderValue},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    dial::{NotDialled, dial},
    message::{Ending, Protocol},
    meter::Metered,
    serve::{Context, Report},
    tunnel,
};
use crate::policy::host::{HostReason, Target};

/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// The longest head, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// How long a host may take to begin an answer.
const ANSWER: Duration = Duration::from_secs(300);

/// Headers that are between two neighbours (RFC 9110 section 7.6.1), besides those that `Connection` names.
const BETWEEN_NEIGHBOURS: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

type Body = BoxBody<Bytes, hyper::Error>;

/// Serves one client. In a tunnel `within` is the target that it was allowed. Boxed, because what serves HTTP runs tunnels, and those serve HTTP.
pub(super) fn serve<C>(client: C, context: &Arc<Context>, within: Option<Target>) -> BoxFuture<'static, ()>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let context = Arc::clone(context);
    let service = service_fn(move |request| {
        let (context, within) = (Arc::clone(&context), within.clone());
        async move { Ok::<_, Infallible>(answer(request, &context, within.as_ref()).await) }
    });
    let mut builder = server::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(LONGEST_HEAD).half_close(true);
    Box::pin(async move {
        // A client that breaks off, or does not speak HTTP, needs no further answer.
        let _ = builder.serve_connection(TokioIo::new(client), service).with_upgrades().await;
    })
}

async fn answer(request: Request<Incoming>, context: &Arc<Context>, within: Option<&Target>) -> Response<Body> {
    if request.method() == Method::CONNECT {
        return connect(request, context, within).await;
    }
    let (named, found) = target_of(&request, within);
    let method = request.method().as_str().to_owned();
    let mut report = Report::new(context, &named, Protocol::Http, Some(&method));
    let target = match found {
        Ok(target) => target,
        Err(ending) => return not_dialled(&mut report, &NotDialled { ending, rule: None }, &named),
    };
    let dialled = match dial(&context.rules, &target, Some(&method)).await {
        Ok(dialled) => dialled,
        Err(not) => return not_dialled(&mut report, &not, &named),
    };
    report.dialled(&dialled);
    let stream = TokioIo::new(Metered::new(dialled.stream, report.meter.clone()));
    let Ok((mut sender, connection)) = client::Builder::new().preserve_header_case(true).handshake(stream).await else {
        return refusal(StatusCode::BAD_GATEWAY, &format!("{named} cannot be spoken to"));
    };
    let ends = Arc::clone(context);
    tokio::spawn(async move {
        // The report is told with the end of the connection to the host, and so with all that passed on it.
        let meter = report.meter.clone();
        tokio::select! {
            _ = connection => {}
            () = meter.idle() => {}
            () = ends.ended() => {}
        }
        drop(report);
    });
    match timeout(ANSWER, sender.send_request(onward(request, &target))).await {
        Ok(Ok(mut response)) => {
            without_neighbours(response.headers_mut());
            response.map(|body| body.boxed())
        }
        Ok(Err(error)) => refusal(StatusCode::BAD_GATEWAY, &format!("{named}: {error}")),
        Err(_) => refusal(StatusCode::GATEWAY_TIMEOUT, &format!("{named} did not answer in time")),
    }
}

/// What a plain request is for, as it is named and as it is read.
fn target_of(request: &Request<Incoming>, within: Option<&Target>) -> (String, Result<Target, Ending>) {
    let uri = request.uri();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    match (within, uri.scheme_str(), uri.authority()) {
        // A tunnel's requests are the host's own: they name it in `Host` and nowhere else.
        (Some(target), None, None) => {
            let named = host.map(|host| Target::parse(host, target.port));
            let found = match named {
                Some(Ok(named)) if named == *target => Ok(target.clone()),
                _ => Err(Ending::OtherName(host.unwrap_or("none").to_owned())),
            };
            (target.to_string(), found)
        }
        (None, Some("http"), Some(authority)) => match Target::parse(authority.as_str(), 80) {
            Ok(target) => (target.to_string(), Ok(target)),
            Err(error) => (authority.to_string(), Err(Ending::NoHost(error.to_string()))),
        },
        _ => {
            let named = uri.authority().map_or_else(|| host.unwrap_or_default().to_owned(), ToString::to_string);
            (named, Err(Ending::NoHost("a request to this proxy begins with http://HOST, or with CONNECT".to_owned())))
        }
    }
}

/// The request as the host gets it (RFC 9112 section 3.2): its path alone, the host that was judged, and nothing that was meant for the proxy.
fn onward(request: Request<Incoming>, target: &Target) -> Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    without_neighbours(&mut parts.headers);
    parts.headers.remove("proxy-connection");
    let host = if target.port == 80 { target.host.to_string() } else { target.to_string() };
    if let Ok(host) = HeaderValue::from_str(&host) {
        parts.headers.insert(header::HOST, host);
    }
    Request::from_parts(parts, body)
}

fn without_neighbours(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // What says how long a body is cannot be left out at a client's word.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect();
    for name in BETWEEN_NEIGHBOURS.iter().chain(&named) {
        headers.remove(name);
    }
}

async fn connect(request: Request<Incoming>, context: &Arc<Context>, within: Option<&Target>) -> Response<Body> {
    let named = request.uri().authority().map_or_else(String::new, ToString::to_string);
    let target = Target::parse(&named, 443);
    let shown = target.as_ref().map_or_else(|_| named.clone(), ToString::to_string);
    let mut report = Report::new(context, &shown, Protocol::Connect, None);
    let target = match (target, within) {
        (Ok(target), None) => target,
        (Ok(_), Some(_)) => {
            report.ended(Ending::NoHost("a tunnel in a tunnel".to_owned()));
            return refusal(StatusCode::FORBIDDEN, "there is no tunnel in a tunnel");
        }
        (Err(error), _) => {
            let not = NotDialled { ending: Ending::NoHost(error.to_string()), rule: None };
            return not_dialled(&mut report, &not, &named);
        }
    };
    let dialled = match dial(&context.rules, &target, None).await {
        Ok(dialled) => dialled,
        Err(not) => return not_dialled(&mut report, &not, &shown),
    };
    report.dialled(&dialled);
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let tunnel = async {
            if let Ok(client) = hyper::upgrade::on(request).await {
                tunnel::run(TokioIo::new(client), dialled.stream, &target, report, &context).await;
            }
        };
        tokio::select! {
            () = tunnel => {}
            () = context.ended() => {}
        }
    });
    Response::new(empty())
}

fn not_dialled(report: &mut Report, not: &NotDialled, named: &str) -> Response<Body> {
    report.not_dialled(not);
    let status = if matches!(not.ending, Ending::Unreachable(_)) { StatusCode::BAD_GATEWAY } else { StatusCode::FORBIDDEN };
    let rule = not.rule.as_ref().map_or_else(String::new, |(rule, origin)| match not.ending {
        Ending::Refused(HostReason::NotCovered | HostReason::NotPublic) => format!(" (the list at {origin})"),
        _ => format!(" ({rule}, {origin})"),
    });
    refusal(status, &format!("{}{rule}", sentence(&not.ending, named)))
}

/// What the client is told.
fn sentence(ending: &Ending, named: &str) -> String {
    let why = match ending {
        Ending::Served => "served".to_owned(),
        Ending::Refused(reason) => match reason {
            HostReason::Allowed => "allowed".to_owned(),
            HostReason::Denied => "a rule denies it".to_owned(),
            HostReason::Method => "no rule allows this method, or a tunnel, to it".to_owned(),
            HostReason::Port => "no rule allows this port of it".to_owned(),
            HostReason::NotCovered => "no rule allows it".to_owned(),
            HostReason::NotPublic => "its name leads to an address that is not public, and no rule names that address".to_owned(),
        },
        Ending::NoHost(why) | Ending::Unreachable(why) => why.clone(),
        Ending::OtherName(other) => format!("another host was named in it: {other}"),
    };
    format!("{named}: {why}")
}

fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    // Clients' words come back to the client alone, as plain text.
    let body = Full::new(Bytes::from(format!("portcullis: {text}\n"))).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn empty() -> Body {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed()
}
