//! The protocol with one running server.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rmcp::{
    ClientHandler, RoleClient,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig, Implementation, JsonObject,
        PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion,
    },
    service::{NotificationContext, RunningService, ServiceError, serve_client},
    transport::async_rw::AsyncRwTransport,
};
use tokio::{io::AsyncWriteExt, sync::mpsc::UnboundedSender, time::timeout};

use super::{
    guest::GuestError,
    lock::Reached,
    process::Process,
    progress::Progress,
    reading::{Allowance, Bounded, MESSAGE_CAP},
    tool::{CheckedTool, visible},
};
use crate::{
    egress,
    sandbox::{Applied, Launcher, message::Launch},
};

/// How long a server may take to be ready.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// The most pages of a list.
const PAGES: usize = 100;
/// The most tools of one server.
const TOOLS: usize = 500;
/// The longest words of a server's that are repeated in an error, in characters.
const WORDS: usize = 1000;

/// This program to a server. Every request of a server's is refused: it has nothing to ask of the person or of the model.
#[derive(Debug)]
struct Host {
    changed: Arc<AtomicBool>,
    progress: Arc<Progress>,
}

impl ClientHandler for Host {
    fn get_info(&self) -> ClientConfig {
        let host = ClientConfig::new(ClientCapabilities::default(), Implementation::new("portcullis", env!("CARGO_PKG_VERSION")));
        // Later ones have no greeting to say so in.
        host.with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) -> impl Future<Output = ()> + Send + '_ {
        self.changed.store(true, Ordering::Relaxed);
        std::future::ready(())
    }

    fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) -> impl Future<Output = ()> + Send + '_ {
        self.progress.told(&told);
        std::future::ready(())
    }
}

/// A server that runs and has been greeted. Dropping it ends the server.
#[derive(Debug)]
pub struct Connection {
    service: RunningService<RoleClient, Host>,
    process: Process,
    allowance: Arc<Allowance>,
    changed: Arc<AtomicBool>,
    progress: Arc<Progress>,
}

impl Connection {
    /// Starts a server and greets it.
    ///
    /// # Errors
    /// If it cannot be started, or does not answer as a server does.
    pub async fn open(launcher: &Arc<Launcher>, launch: Launch, reached: &Reached) -> Result<Self, GuestError> {
        let (process, (mut input, output)) = Process::start(launcher, launch)?;
        if let Reached::Remote(remote) = reached {
            let line = serde_json::to_string(remote).unwrap_or_default() + "\n";
            // That nobody reads it comes out with the greeting, and with the reason.
            let _ = input.write_all(line.as_bytes()).await;
        }
        let (allowance, changed, progress) = (Arc::<Allowance>::default(), Arc::<AtomicBool>::default(), Arc::<Progress>::default());
        let host = Host { changed: Arc::clone(&changed), progress: Arc::clone(&progress) };
        // Its own limit is never reached: it passes over a line that is too long, and the answer would be awaited in vain.
        let longest = usize::try_from(2 * MESSAGE_CAP).unwrap_or(usize::MAX);
        let transport = AsyncRwTransport::new_client(Bounded::new(output, Arc::clone(&allowance)), input).with_max_line_length(longest);
        match timeout(START_PATIENCE, serve_client(host, transport)).await {
            Ok(Ok(service)) => Ok(Self { service, process, allowance, changed, progress }),
            Ok(Err(error)) => {
                let how = process.obituary().await?;
                Err(GuestError::Start { why: format!("{}; {how}", quoted(&error.to_string())) })
            }
            Err(_) => {
                let words = process.last_words();
                Err(GuestError::Start { why: format!("it did not answer within {} s{words}", START_PATIENCE.as_secs()) })
            }
        }
    }

    /// Its tools, sorted by name, and why others cannot be offered.
    ///
    /// # Errors
    /// If it does not answer, or with too much.
    pub async fn tools(&self) -> Result<(Vec<CheckedTool>, Vec<String>), GuestError> {
        self.changed.store(false, Ordering::Relaxed);
        self.allowance.renew();
        let mut described = Vec::new();
        let all = async {
            let mut cursor = None;
            for _ in 0..PAGES {
                let page = self.service.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await?;
                described.extend(page.tools);
                cursor = page.next_cursor;
                if cursor.is_none() || described.len() > TOOLS {
                    return Ok(());
                }
            }
            Ok(())
        };
        match timeout(START_PATIENCE, all).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.failed(error).await),
            Err(_) => return Err(GuestError::TimedOut { patience: START_PATIENCE }),
        }
        if described.len() > TOOLS {
            return Err(GuestError::Start { why: format!("it has more than {TOOLS} tools") });
        }
        let (mut tools, mut refused) = (Vec::<CheckedTool>::new(), Vec::new());
        for described in &described {
            match CheckedTool::new(described) {
                Ok(tool) if tools.iter().any(|other| other.name == tool.name) => refused.push(format!("{}: it is listed twice", tool.name)),
                Ok(tool) => tools.push(tool),
                Err(why) => refused.push(format!("{}: {why}", quoted(&described.name))),
            }
        }
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        refused.sort();
        Ok((tools, refused))
    }

    /// Calls a tool. Dropping the future tells the server that the call is cancelled. What the server says of its progress goes to `watch`.
    ///
    /// # Errors
    /// If it fails otherwise than by the tool's own account.
    pub async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
        watch: Option<UnboundedSender<String>>,
    ) -> Result<CallToolResult, GuestError> {
        self.allowance.renew();
        let _watching = self.progress.watch(watch);
        let mut request = CallToolRequestParams::new(tool.to_owned());
        request.arguments = Some(arguments);
        match self.service.peer().call_tool_once(request).await {
            Ok(CallToolResponse::Complete(result)) => Ok(result),
            Ok(_) => Err(GuestError::Answer { why: "it asked for more input, or for time, which no call is given".to_owned() }),
            Err(error) => Err(self.failed(error).await),
        }
    }

    /// Whether the server says that its list of tools is another by now.
    pub fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }

    /// What the kernel was told for it.
    pub fn applied(&self) -> Option<Applied> {
        self.process.applied()
    }

    /// What it connected to since this was asked last.
    pub fn take_connections(&self) -> (Vec<egress::Connection>, u64) {
        self.process.take_connections()
    }

    /// Ends it and waits for that.
    pub async fn close(self) {
        let Self { service, process, .. } = self;
        process.stop().await;
        drop(service);
    }

    async fn failed(&self, error: ServiceError) -> GuestError {
        match error {
            ServiceError::McpError(error) => GuestError::Answer { why: quoted(&error.message) },
            ServiceError::UnexpectedResponse => GuestError::Answer { why: "its answer is none to a call".to_owned() },
            _ if self.allowance.is_exceeded() => GuestError::Flooded,
            _ => match self.process.obituary().await {
                Ok(how) => GuestError::Gone { how },
                Err(error) => error.into(),
            },
        }
    }
}

/// Words of a server's in an error.
fn quoted(words: &str) -> String {
    let short: String = words.chars().take(WORDS).collect();
    visible(&short)
}
