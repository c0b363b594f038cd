//! The protocol's requests. What runs is passed on to the calls.

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest, CustomResult, ErrorCode, Implementation,
        InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use tokio::sync::{Semaphore, mpsc::UnboundedSender, oneshot};

use super::{
    calls::{Message, Request},
    offer,
};

/// Calls that run or wait at the same time.
const AT_ONCE: usize = 64;
/// Requests that are known. One of these comes to [`Handler::on_custom_request`] only if its parameters could not be understood.
const KNOWN: [&str; 3] = ["initialize", "tools/call", "tools/list"];

/// See the module.
#[derive(Debug)]
pub(super) struct Handler {
    instructions: String,
    tools: Vec<Tool>,
    calls: UnboundedSender<Message>,
    room: Semaphore,
}

impl Handler {
    pub(super) fn new(instructions: String, calls: UnboundedSender<Message>) -> Self {
        Self { instructions, tools: offer::tools(), calls, room: Semaphore::new(AT_ONCE) }
    }
}

/// Who a caller says that it is.
fn client(info: Option<&Implementation>) -> String {
    info.map_or_else(|| "unknown".to_owned(), |info| format!("{} {}", info.name, info.version))
}

fn ended() -> ErrorData {
    ErrorData::internal_error("nothing is served any more", None)
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("portcullis", env!("CARGO_PKG_VERSION")))
            .with_instructions(self.instructions.clone())
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let _ = self.calls.send(Message::Client(client(Some(&request.client_info))));
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.clone()))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let Ok(_room) = self.room.try_acquire() else {
            let text = format!("Refused: {AT_ONCE} calls run or wait already; wait for their results.");
            return Ok(CallToolResult::error(vec![ContentBlock::text(text)]).into());
        };
        let (answer, answered) = oneshot::channel();
        let call = Request {
            client: client(context.client_info().as_ref()),
            name: request.name.into_owned(),
            arguments: request.arguments.unwrap_or_default(),
            cancelled: context.ct.clone(),
            answer,
        };
        self.calls.send(Message::Call(call)).map_err(|_| ended())?;
        tokio::select! {
            answer = answered => answer.map_err(|_| ended())?.map(Into::into),
            // Nobody waits for the answer, so the call takes up no room any more.
            () = context.ct.cancelled() => Err(ended()),
        }
    }

    async fn on_custom_request(&self, request: CustomRequest, _context: RequestContext<RoleServer>) -> Result<CustomResult, ErrorData> {
        Err(if KNOWN.contains(&request.method.as_str()) {
            ErrorData::invalid_params(format!("the parameters of {} could not be understood", request.method), None)
        } else {
            ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None)
        })
    }
}
