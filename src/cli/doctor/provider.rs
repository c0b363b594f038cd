//! `portcullis doctor --provider`: an endpoint tried with a handful of small requests, what it takes and lacks, and the settings that follow.

use std::time::Duration;

use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    cli::{endpoint::Provider, exec::ExecError, exit::Exit, output, report, resolve::Folders},
    model::{
        Client, Conversation, EncodedHead, End, Endpoint, Features, Head, Item, ItemKind, ModelError, Progress, Style, Tool, Transport,
        Usage,
    },
    ui::sanitize::visible_line,
};

/// Longest time for one request. A small server reads a prompt slowly.
const PATIENCE: Duration = Duration::from_secs(180);
/// Tokens that one answer may have.
const ANSWER: u64 = 512;

/// What was tried, and what came of it.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    what: &'static str,
    works: bool,
    /// Whether portcullis can do nothing without it.
    needed: bool,
    detail: String,
    /// A line for providers.toml that follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<&'static str>,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    url: String,
    model: String,
    usable: bool,
    findings: Vec<Finding>,
    requests: u32,
    input_tokens: u64,
    output_tokens: u64,
}

/// What one request gave.
#[derive(Debug, Default)]
struct Answer {
    items: Vec<Item>,
    deltas: usize,
    warnings: usize,
    usage: Option<Usage>,
    sockets: bool,
}

impl Answer {
    fn call(&self) -> Option<(&str, &str)> {
        self.items.iter().find_map(|item| match &item.kind {
            ItemKind::FunctionCall { call_id, arguments, .. } => Some((call_id.as_str(), arguments.as_str())),
            _ => None,
        })
    }

    fn reasons(&self) -> bool {
        self.items.iter().any(|item| matches!(item.kind, ItemKind::Reasoning { .. }))
    }
}

/// Tries an endpoint and prints what was found. Ends with 0 if portcullis can work with it, else with 5.
pub(in crate::cli) fn run(provider: &Provider, json: bool) -> Exit {
    let report = match look(provider) {
        Ok(report) => report,
        Err(error) => {
            report(&error);
            return error.exit();
        }
    };
    let text = if json { serde_json::to_string(&report).unwrap_or_default() + "\n" } else { show(&report) };
    match output::print(&text) {
        Err(exit) => exit,
        Ok(()) if report.usable => Exit::Success,
        Ok(()) => Exit::Provider,
    }
}

fn look(provider: &Provider) -> Result<Report, ExecError> {
    let (endpoint, _) = provider.endpoint(&Folders::from_environment())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ExecError::Runtime)?;
    Ok(runtime.block_on(Probe::new(endpoint).run())?)
}

/// The requests, one after another.
struct Probe {
    endpoint: Endpoint,
    findings: Vec<Finding>,
    requests: u32,
    usage: Usage,
}

impl Probe {
    fn new(endpoint: Endpoint) -> Self {
        // One look, not a session: what fails is to be said soon.
        let mut endpoint = endpoint;
        endpoint.backoff.retries = endpoint.backoff.retries.min(1);
        Self { endpoint, findings: Vec::new(), requests: 0, usage: Usage::default() }
    }

    async fn run(mut self) -> Result<Report, ModelError> {
        let first = self.say_hello().await?;
        if let Some(answer) = &first {
            self.found(
                "streams its answer",
                answer.deltas > 0,
                false,
                &format!("{} parts, {} odd events", answer.deltas, answer.warnings),
                None,
            );
            let usage = answer.usage.filter(|usage| usage.input_tokens > 0);
            let detail = usage
                .map_or_else(|| "no counts: compaction goes by estimates".to_owned(), |usage| format!("{} tokens in", usage.input_tokens));
            self.found("counts tokens", usage.is_some(), false, &detail, None);
            self.tools().await?;
            self.cache().await?;
            self.websocket().await?;
            self.compaction().await?;
        }
        let usable = self.findings.iter().all(|finding| finding.works || !finding.needed);
        let Self { endpoint, findings, requests, usage } = self;
        Ok(Report {
            version: 1,
            url: endpoint.base_url().to_owned(),
            model: endpoint.model.clone(),
            usable,
            findings,
            requests,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
        })
    }

    fn found(&mut self, what: &'static str, works: bool, needed: bool, detail: &str, setting: Option<&'static str>) {
        self.findings.push(Finding { what, works, needed, detail: detail.to_owned(), setting });
    }

    /// The first answer. Fields that the endpoint refuses are left out one by one until it gives one.
    async fn say_hello(&mut self) -> Result<Option<Answer>, ModelError> {
        let mut conversation = Conversation::new();
        conversation.push_developer("You are being tried out. Answer in one short sentence.");
        conversation.push_user("Say hello.");
        type Without = (&'static str, &'static str, fn(&mut Features));
        const WITHOUT: [Without; 5] = [
            ("reasoning in encrypted form", "encrypted_reasoning = false", |features| features.encrypted_reasoning = false),
            ("a cache key", "cache_key = false", |features| features.cache_key = false),
            ("strict tools", "strict_tools = false", |features| features.strict_tools = false),
            ("several calls at once", "parallel_calls = false", |features| features.parallel_calls = false),
            ("instructions in a field", "instructions = \"developer\"", |features| features.instructions_field = false),
        ];
        let mut refused = match self.ask(&conversation).await {
            Ok(answer) => {
                self.found("answers", true, true, "", None);
                return Ok(Some(answer));
            }
            Err(error @ (ModelError::Status { status: 400 | 422 | 500, .. } | ModelError::Exhausted { .. })) => error,
            Err(error) => {
                self.found("answers", false, true, &error.to_string(), None);
                return Ok(None);
            }
        };
        // One at a time, so that only what is in the way is left out; then all together.
        let whole = self.endpoint.features.clone();
        for (what, setting, leave_out) in WITHOUT {
            self.endpoint.features = whole.clone();
            leave_out(&mut self.endpoint.features);
            if self.endpoint.features == whole {
                continue;
            }
            match self.ask(&conversation).await {
                Ok(answer) => {
                    self.found("answers", true, true, &format!("only without {what}: {refused}"), Some(setting));
                    return Ok(Some(answer));
                }
                Err(error) => refused = error,
            }
        }
        self.endpoint.features = whole;
        WITHOUT.iter().for_each(|(_, _, leave_out)| leave_out(&mut self.endpoint.features));
        match self.ask(&conversation).await {
            Ok(answer) => {
                self.found("answers", true, true, &format!("only without all that it may lack: {refused}"), None);
                for (what, setting, _) in WITHOUT {
                    self.found(what, false, false, "left out", Some(setting));
                }
                Ok(Some(answer))
            }
            Err(error) => {
                self.found("answers", false, true, &error.to_string(), None);
                Ok(None)
            }
        }
    }

    async fn tools(&mut self) -> Result<(), ModelError> {
        let mut conversation = Conversation::new();
        conversation
            .push_developer("You are being tried out. Use the note tool once, with a short text, and then say that you have done it.");
        conversation.push_user("Please use the note tool to note the word portcullis.");
        let answer = match self.ask(&conversation).await {
            Ok(answer) => answer,
            Err(error) => {
                self.found("calls tools", false, true, &error.to_string(), None);
                return Ok(());
            }
        };
        self.found("reasons visibly", answer.reasons(), false, "", None);
        let Some((call, arguments)) = answer.call() else {
            self.found("calls tools", false, true, "it answered in words; a model that calls no tools can do nothing here", None);
            return Ok(());
        };
        let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments).is_ok();
        let detail = if is_object {
            "with arguments that are JSON"
        } else {
            "with arguments that are no JSON; such a call is answered and sent back repaired"
        };
        self.found("calls tools", true, true, detail, None);
        answer
            .items
            .iter()
            .filter(|item| self.endpoint.features.encrypted_reasoning || !matches!(item.kind, ItemKind::Reasoning { .. }))
            .for_each(|item| conversation.push_raw(&item.sendable()));
        let call = call.to_owned();
        conversation.push_output(&call, "noted");
        match self.ask(&conversation).await {
            Ok(_) => self.found("takes the output of a call", true, true, "", None),
            Err(error) => {
                let reasoning = answer.reasons() && self.endpoint.features.encrypted_reasoning;
                self.found(
                    "takes the output of a call",
                    false,
                    true,
                    &error.to_string(),
                    reasoning.then_some("encrypted_reasoning = false"),
                );
            }
        }
        Ok(())
    }

    async fn cache(&mut self) -> Result<(), ModelError> {
        let mut conversation = Conversation::new();
        // Providers cache nothing shorter than 1024 tokens.
        conversation.push_developer(&"This is a long text that means nothing and is here to be found again. ".repeat(90));
        conversation.push_user("Say yes.");
        let mut cached = 0;
        for _ in 0..2 {
            match self.ask(&conversation).await {
                Ok(answer) => cached = answer.usage.map_or(0, |usage| usage.cached_tokens),
                Err(error) => {
                    self.found("caches what it has seen", false, false, &error.to_string(), None);
                    return Ok(());
                }
            }
        }
        self.found("caches what it has seen", cached > 0, false, &format!("{cached} tokens of a second request"), None);
        Ok(())
    }

    async fn websocket(&mut self) -> Result<(), ModelError> {
        let mut endpoint = self.endpoint.clone();
        endpoint.transport = Transport::WebSocket;
        let client = Client::new(endpoint)?;
        let mut conversation = Conversation::new();
        conversation.push_user("Say hello.");
        let works = match timeout(PATIENCE, self.ask_with(&client, &conversation)).await {
            Ok(Ok(answer)) => answer.sockets,
            _ => false,
        };
        self.found("offers a WebSocket", works, false, "", works.then_some("transport = \"websocket\""));
        Ok(())
    }

    async fn compaction(&mut self) -> Result<(), ModelError> {
        let client = Client::new(self.endpoint.clone())?;
        let mut conversation = Conversation::new();
        conversation.push_user("Say hello.");
        self.requests += 1;
        let (works, detail) = match timeout(PATIENCE, client.compact(&self.head(), &conversation)).await {
            Ok(Ok(_)) => (true, String::new()),
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (false, "no answer".to_owned()),
        };
        self.found("compacts conversations itself", works, false, &detail, works.then_some("compaction = \"call\""));
        Ok(())
    }

    async fn ask(&mut self, conversation: &Conversation) -> Result<Answer, ModelError> {
        let client = Client::new(self.endpoint.clone())?;
        match timeout(PATIENCE, self.ask_with(&client, conversation)).await {
            Ok(answer) => answer,
            Err(_) => Err(ModelError::NoAnswer { host: self.endpoint.base_url().to_owned(), after: PATIENCE }),
        }
    }

    async fn ask_with(&mut self, client: &Client, conversation: &Conversation) -> Result<Answer, ModelError> {
        self.requests += 1;
        let (sender, mut progress) = mpsc::unbounded_channel();
        let reply = client.respond(&self.head(), conversation, &sender).await?;
        let mut answer = Answer { usage: reply.usage, sockets: client.has_websocket().await, ..Answer::default() };
        while let Ok(what) = progress.try_recv() {
            match what {
                Progress::ItemDone(item) => answer.items.push(item),
                Progress::TextDelta(_) => answer.deltas += 1,
                Progress::Warning(_) => answer.warnings += 1,
                Progress::Sent(_) | Progress::ReasoningDelta(_) | Progress::Retry { .. } => {}
            }
        }
        let usage = reply.usage.unwrap_or_default();
        self.usage.input_tokens += usage.input_tokens;
        self.usage.output_tokens += usage.output_tokens;
        match reply.end {
            // A model that thinks may use up what it was given.
            End::Completed | End::Incomplete { .. } => Ok(answer),
            End::Cut { why, .. } => Err(ModelError::Interrupted { why }),
        }
    }

    fn head(&self) -> EncodedHead {
        let note = serde_json::json!({
            "type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": false
        });
        let features = self.endpoint.features.clone();
        let head = Head {
            model: self.endpoint.model.clone(),
            instructions: if features.instructions_field { "Be brief.".to_owned() } else { String::new() },
            tools: vec![Tool { name: "note".to_owned(), description: "Notes a text.".to_owned(), parameters: note, strict: true }],
            prompt_cache_key: "portcullis-doctor".to_owned(),
            parallel_tool_calls: true,
            style: Style { output_schema: None, ..self.endpoint.style.clone() },
            features,
            max_output_tokens: Some(ANSWER),
        };
        head.encode()
    }
}

fn show(report: &Report) -> String {
    let mut text = format!("{} at {}\n\n", visible_line(&report.model), visible_line(&report.url));
    for finding in &report.findings {
        let mark = match (finding.works, finding.needed) {
            (true, _) => "yes",
            (false, true) => "NO",
            (false, false) => "no",
        };
        let detail: String = visible_line(&finding.detail).chars().take(160).collect();
        text.push_str(format!("{mark:<4} {:<30} {detail}", finding.what).trim_end());
        text.push('\n');
    }
    let settings: Vec<&str> = report.findings.iter().filter_map(|finding| finding.setting).collect();
    if !settings.is_empty() {
        text.push_str("\nFor providers.toml:\n");
        settings.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    let verdict = if report.usable { "portcullis can work with it." } else { "portcullis cannot work with it as it is." };
    text.push_str(&format!(
        "\n{verdict} ({} requests, {} tokens in, {} out)\n",
        report.requests, report.input_tokens, report.output_tokens
    ));
    text
}
