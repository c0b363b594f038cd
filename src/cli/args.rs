//! What can be typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    chat::{Chat, Kept, Which},
    endpoint::{Context, Provider},
    exec::{ApproverChoice, Task},
    exit::TABLE,
};
use crate::{
    model::{CompactionMethod, Prices, Style, Transport},
    policy::Ask,
};

/// A coding agent in which nothing the model asks for runs in the agent's own process.
#[derive(Debug, Parser)]
#[command(version, about, after_help = help(), propagate_version = true, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(long_about = CHAT_ABOUT)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) chat: ChatArguments,
}

const CHAT_ABOUT: &str = "\
A coding agent in which nothing the model asks for runs in the agent's own process.

Without a command it begins an interactive session: you type, the model works, and what needs a yes is asked about.";

const EXAMPLES: &str = "\
Examples:
  portcullis
  portcullis --policy read-only -i sketch.png
  portcullis exec \"Why does the parser test fail? Fix it.\"
  portcullis sandbox -- cargo test
  portcullis doctor";

fn help() -> String {
    format!("{EXAMPLES}\n\n{TABLE}")
}

#[derive(Debug, Args)]
pub(super) struct ChatArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    provider: ProviderArguments,
    #[command(flatten)]
    images: Images,
    /// When you are asked; never laxer than the policy.
    #[arg(long, value_name = "MODE")]
    ask: Option<AskMode>,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArguments {
    /// The session's id [default: you choose from a list].
    #[arg(value_name = "SESSION")]
    session: Option<String>,
    /// The one that was worked in last.
    #[arg(long, conflicts_with = "session")]
    last: bool,
    /// Print the list instead.
    #[arg(long, conflicts_with_all = ["session", "last"])]
    pub(super) list: bool,
    /// With --list: all of them, not only the last 20.
    #[arg(long, requires = "list")]
    pub(super) all: bool,
    #[command(flatten)]
    chat: ChatArguments,
}

impl ResumeArguments {
    /// What is begun, as a fork or not.
    pub(super) fn chat(self, fork: bool) -> Chat {
        let which = match (self.session, self.last) {
            (Some(session), _) => Which::Session(session),
            (None, true) => Which::Last,
            (None, false) => Which::Chosen,
        };
        Chat { kept: Some(Kept { which, fork }), ..self.chat.into() }
    }
}

const RESUME_EXAMPLES: &str = "\
Examples:
  portcullis resume
  portcullis resume --last
  portcullis fork 01a21a81-0a44-73a2-ac60-a208193e0e81
  portcullis resume --list";

#[derive(Debug, Args)]
pub(super) struct ProviderArguments {
    /// The endpoint by name, as `portcullis providers list` shows them [default: what providers.toml says, else openai].
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The base URL of an endpoint that speaks the Responses API.
    #[arg(long, value_name = "URL")]
    provider_url: Option<String>,
    /// The model's name [default: the provider's].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The environment variable that holds the key [default: the provider's]. The key itself is never an argument.
    #[arg(long, value_name = "VARIABLE")]
    key_env: Option<String>,
    #[command(flatten)]
    context: ContextArguments,
    /// How much the model thinks: minimal, low, medium, high, or another word that the endpoint knows [default: the endpoint's own].
    #[arg(long, value_name = "LEVEL", value_parser = a_word)]
    reasoning_effort: Option<String>,
    /// How much it says: low, medium, high, or another word that the endpoint knows [default: the endpoint's own].
    #[arg(long, value_name = "LEVEL", value_parser = a_word)]
    verbosity: Option<String>,
    /// How requests are sent [default: over a WebSocket where the endpoint is known to offer one, else over HTTP].
    #[arg(long, value_name = "HOW")]
    transport: Option<TransportArgument>,
    /// Compress requests over HTTP (zstd); an endpoint that does not take that is sent them plain.
    #[arg(long)]
    compress: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TransportArgument {
    /// Over HTTP, the whole conversation each time.
    Http,
    /// Over a WebSocket, only what is new; over HTTP if none is offered.
    Websocket,
}

impl From<TransportArgument> for Transport {
    fn from(argument: TransportArgument) -> Self {
        match argument {
            TransportArgument::Http => Self::Http,
            TransportArgument::Websocket => Self::WebSocket,
        }
    }
}

fn a_word(text: &str) -> Result<String, String> {
    let is_word =
        !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_word { Ok(text.to_owned()) } else { Err("it is no word of letters and digits".to_owned()) }
}

/// Which endpoint `doctor --provider` tries.
#[derive(Debug, Args)]
pub(super) struct EndpointArguments {
    /// The base URL of an endpoint that speaks the Responses API.
    #[arg(long, value_name = "URL", requires = "provider")]
    provider_url: Option<String>,
    /// The model's name.
    #[arg(long, value_name = "NAME", requires = "provider")]
    model: Option<String>,
    /// The environment variable that holds the key.
    #[arg(long, value_name = "VARIABLE", requires = "provider")]
    key_env: Option<String>,
}

impl EndpointArguments {
    /// The endpoint with this name, or the default.
    pub(super) fn named(self, name: Option<String>) -> Provider {
        let Self { provider_url: url, model, key_env: key_variable } = self;
        Provider { name, url, model, key_variable, ..Provider::default() }
    }
}

/// About the model's window, and what tokens cost.
#[derive(Debug, Args)]
struct ContextArguments {
    /// How many tokens the model takes, input and output together. Without it the window is learned when the endpoint says that a request is too long.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    context_window: Option<u64>,
    /// The share of the window at which the conversation is compacted.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    compact_at: Option<u8>,
    /// How it is compacted; an endpoint that cannot do it is asked for a summary.
    #[arg(long, value_name = "HOW")]
    compaction: Option<CompactionArgument>,
    /// What a million tokens of input, of cached input and of output cost; costs are shown then.
    #[arg(long, value_name = "IN/CACHED/OUT")]
    prices: Option<Prices>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompactionArgument {
    /// By a summary that the model writes.
    Summary,
    /// By the endpoint's call `/responses/compact`.
    Call,
    /// By an item `compaction_trigger` in an ordinary request.
    Trigger,
}

impl From<CompactionArgument> for CompactionMethod {
    fn from(argument: CompactionArgument) -> Self {
        match argument {
            CompactionArgument::Summary => Self::Summary,
            CompactionArgument::Call => Self::Call,
            CompactionArgument::Trigger => Self::Trigger,
        }
    }
}

impl From<ContextArguments> for Context {
    fn from(arguments: ContextArguments) -> Self {
        let ContextArguments { context_window: window, compact_at, compaction, prices } = arguments;
        Self { window, compact_at, compaction: compaction.map(Into::into), prices }
    }
}

impl From<ProviderArguments> for Provider {
    fn from(arguments: ProviderArguments) -> Self {
        let ProviderArguments { provider, provider_url, model, key_env, context, reasoning_effort, verbosity, transport, compress } =
            arguments;
        let transport = transport.map(Into::into);
        let style = Style { reasoning_effort, verbosity, output_schema: None };
        Self { name: provider, url: provider_url, model, key_variable: key_env, context: context.into(), style, transport, compress }
    }
}

impl From<ChatArguments> for Chat {
    fn from(arguments: ChatArguments) -> Self {
        let ChatArguments { common, provider, images, ask } = arguments;
        let Common { policy, workspace } = common;
        Self { policy, workspace, provider: provider.into(), images: images.image, ask: ask.map(Ask::from), kept: None }
    }
}

#[derive(Debug, Args)]
struct Images {
    /// An image that goes along with the first prompt: PNG, JPEG, GIF or WebP, where the policy lets files be read. Can be given several times.
    #[arg(short, long, value_name = "FILE")]
    image: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// The policy: a preset's name, or a file (a path with a slash, or ending in .toml).
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) policy: Option<String>,
    /// The folder to work in [default: the repository around the current folder, else that folder].
    #[arg(long, value_name = "DIR")]
    pub(super) workspace: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Work on one task, from the prompt to the answer, without questions.
    #[command(after_help = EXEC_EXAMPLES)]
    Exec(ExecArguments),
    /// Go on with an earlier session of this workspace.
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ResumeArguments),
    /// Begin a session that shares everything so far with an earlier one, and leave that one as it is.
    #[command(after_help = RESUME_EXAMPLES)]
    Fork(ResumeArguments),
    /// Take away old sessions.
    #[command(subcommand, after_help = super::sessions::EXAMPLES)]
    Sessions(super::sessions::SessionsCommand),
    /// List what you allowed for longer than one call, take it back, or look back on what you were asked.
    #[command(subcommand, after_help = super::grants::EXAMPLES)]
    Grants(super::grants::GrantsCommand),
    /// Say what this machine can enforce, and what that means for each preset.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor {
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
        /// Try an endpoint of the model instead, with a handful of small requests: the one of this name, or the one that is used where none is named.
        #[arg(long, value_name = "NAME", num_args = 0..=1)]
        provider: Option<Option<String>>,
        #[command(flatten)]
        endpoint: EndpointArguments,
    },
    /// List and show the endpoints that have a name.
    #[command(subcommand, after_help = super::providers::EXAMPLES)]
    Providers(super::providers::ProvidersCommand),
    /// Say what can be contacted with these settings, what is sent there, and what stays on this machine.
    #[command(after_help = super::privacy::EXAMPLES)]
    Privacy {
        /// Print one JSON object instead of text.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        provider: ProviderArguments,
    },
    /// List, show and check policies.
    #[command(subcommand, after_help = POLICY_EXAMPLES)]
    Policy(PolicyCommand),
    /// Run any command under a policy; streams, terminal, signals and exit code are passed through.
    #[command(after_help = SANDBOX_EXAMPLES)]
    Sandbox {
        #[command(flatten)]
        common: Common,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Verify, show, report and export what was recorded, and look after its keys and its age.
    #[command(subcommand, after_help = super::audit::EXAMPLES)]
    Audit(super::audit::AuditCommand),
    /// Show what the model is told before a person says anything, or its hash.
    #[command(subcommand, after_help = PROMPT_EXAMPLES)]
    Prompt(PromptCommand),
    /// Add, approve and list MCP servers, whose tools sessions then offer to the model; or serve the tools to other agents.
    #[command(subcommand, after_help = super::mcp::EXAMPLES)]
    Mcp(super::mcp::McpCommand),
    /// Try every published escape on this machine, under a policy.
    #[cfg(target_os = "linux")]
    #[command(after_help = super::selftest::EXAMPLES)]
    Selftest(super::selftest::Arguments),
    /// List and try the programs of yours that have a say before and after calls.
    #[command(subcommand, after_help = super::hooks::EXAMPLES)]
    Hooks(super::hooks::HooksCommand),
    /// Watch the real loop work on a small project: no key, no network, a scripted model.
    #[command(after_help = "Examples:\n  portcullis demo")]
    Demo,
    /// Print what a shell needs to complete the command line.
    #[command(after_help = super::completion::EXAMPLES)]
    Completion(super::completion::Arguments),
    /// Print a manual page, or write all of them into a folder.
    #[command(after_help = super::man::EXAMPLES)]
    Man(super::man::Arguments),
}

const PROMPT_EXAMPLES: &str = "\
Examples:
  portcullis prompt show
  portcullis prompt show --policy locked
  portcullis prompt hash";

#[derive(Debug, Subcommand)]
pub(super) enum PromptCommand {
    /// Print every part of the prefix, in the order in which it is sent.
    #[command(after_help = PROMPT_EXAMPLES)]
    Show(Common),
    /// Print the SHA-256 of the parts that are the same in every run.
    #[command(after_help = PROMPT_EXAMPLES)]
    Hash(Common),
}

#[derive(Debug, Args)]
pub(super) struct ExecArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    provider: ProviderArguments,
    /// Ask more often than the policy does. Without --approver nobody can be asked here, so what would ask is refused.
    #[arg(long, value_name = "MODE")]
    ask: Option<AskMode>,
    #[command(flatten)]
    approver: ApproverArguments,
    #[command(flatten)]
    images: Images,
    /// One JSON event a line on standard output.
    #[arg(long)]
    json: bool,
    /// A file with a JSON schema that the answer is to meet. An answer that is no JSON is a failure.
    #[arg(long, value_name = "FILE")]
    output_schema: Option<PathBuf>,
    /// Go on with an earlier session of this workspace: its id, or `last` for the one that was worked in last.
    #[arg(long, value_name = "SESSION|last")]
    resume: Option<String>,
    /// The task; `-`, or none, reads it from standard input.
    prompt: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ApproverArguments {
    /// A program of yours that answers each question: JSON in, JSON out. It runs outside of the sandbox.
    #[arg(long, value_name = "CMD")]
    approver: Option<String>,
    /// How long an answer may take; no answer is a refusal.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    approver_timeout: Duration,
}

impl From<ApproverArguments> for ApproverChoice {
    fn from(arguments: ApproverArguments) -> Self {
        Self { command: arguments.approver, timeout: arguments.approver_timeout }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum AskMode {
    /// Before each call.
    Always,
    /// Where a rule says so, and for wider access.
    WhenNeeded,
    /// Never: what would ask is refused, with the reason.
    Never,
}

impl From<AskMode> for Ask {
    fn from(mode: AskMode) -> Self {
        match mode {
            AskMode::Always => Self::Always,
            AskMode::WhenNeeded => Self::WhenNeeded,
            AskMode::Never => Self::Never,
        }
    }
}

impl From<ExecArguments> for Task {
    fn from(arguments: ExecArguments) -> Self {
        let ask = arguments.ask.map(Ask::from);
        Self {
            prompt: arguments.prompt,
            images: arguments.images.image,
            policy: arguments.common.policy,
            workspace: arguments.common.workspace,
            provider: arguments.provider.into(),
            ask,
            approver: arguments.approver.into(),
            json: arguments.json,
            output_schema: arguments.output_schema,
            resume: arguments.resume,
        }
    }
}

const EXEC_EXAMPLES: &str = "\
Examples:
  portcullis exec \"Why does the parser test fail? Fix it.\"
  portcullis exec --policy read-only \"What does this repository do?\"
  portcullis exec -i sketch.png \"Build this page.\"
  portcullis exec --provider-url http://127.0.0.1:8080/v1 --model local --json - < task.txt
  portcullis exec --resume last \"And now the tests.\"
  portcullis exec --output-schema answer.json \"List the public functions of src/lib.rs.\"
  portcullis exec --approver \"$HOME/bin/ask-in-editor --quiet\" \"Tidy the branches.\"";

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// List the presets and what each is for.
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Show a policy; without a name the one that is in force here, merged from all its files.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// A preset's name, or a file (a path with a slash, or ending in .toml).
        #[arg(value_name = "NAME|FILE")]
        policy: Option<String>,
        /// Show what the file means instead of what it says: groups, defaults and what it extends spelled out, each entry with its line.
        #[arg(long)]
        expanded: bool,
        /// The folder whose policy is shown if no name is given [default: the repository around the current folder, else that folder].
        #[arg(long, value_name = "DIR", conflicts_with = "policy")]
        workspace: Option<PathBuf>,
    },
    /// Check a policy file; the first error is shown with its line.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say whether a command may run, a path be read or written, or a host be reached: by which rule, and what would change it.
    #[command(after_help = super::policy::explain::EXAMPLES)]
    Explain(super::policy::explain::Arguments),
    /// Check a policy by cases that you have written down, for continuous integration.
    #[command(after_help = super::policy::test::EXAMPLES)]
    Test(super::policy::test::Arguments),
    /// Say what a second policy lets calls do that a first does not, each with a witness.
    #[command(after_help = super::policy::diff::EXAMPLES)]
    Diff(super::policy::diff::Arguments),
    /// Say what another policy would have decided on the calls of a recorded session. Nothing is run.
    #[command(after_help = super::policy::replay::EXAMPLES)]
    Replay(super::policy::replay::Arguments),
    /// Try each statement of a policy against the kernel of this machine, and print the result as a certificate.
    #[cfg(target_os = "linux")]
    #[command(after_help = super::policy::verify::EXAMPLES)]
    Verify(super::policy::verify::Arguments),
    /// Find what is legal in a policy and yet probably a mistake.
    #[command(after_help = super::policy::lint::help())]
    Lint(super::policy::lint::Arguments),
    /// Print the JSON Schema of a policy file, with which an editor checks and explains each key.
    #[command(after_help = super::policy::SCHEMA_EXAMPLES)]
    Schema,
    /// Run a command once, confined, see what it reaches for, and propose the smallest policy that lets it.
    #[cfg(target_os = "linux")]
    #[command(after_help = super::policy::learn::EXAMPLES)]
    Learn(super::policy::learn::Arguments),
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  portcullis doctor
  portcullis doctor --json | jq .verdict
  portcullis doctor --provider
  portcullis doctor --provider llama.cpp --provider-url http://127.0.0.1:8080/v1
  portcullis doctor > /dev/null && echo 'the default preset is enforced in full'

Ends with 0 if the default preset can be enforced in full, else with 4; --provider with 0 if portcullis can work with the endpoint, else with 5.";

const POLICY_EXAMPLES: &str = "\
Examples:
  portcullis policy list
  portcullis policy show
  portcullis policy check .portcullis/policy.toml
  portcullis policy lint";

const LIST_EXAMPLES: &str = "\
Examples:
  portcullis policy list
  portcullis sandbox --policy locked -- make test";

const SHOW_EXAMPLES: &str = "\
Examples:
  portcullis policy show                                # what is in force in this folder
  portcullis policy show ci --expanded                  # what the preset means, entry by entry
  portcullis policy show workspace-write > mine.toml    # a start for a policy of your own";

const CHECK_EXAMPLES: &str = "\
Examples:
  portcullis policy check mine.toml
  portcullis policy check .portcullis/policy.toml && git commit

Ends with 0 if the file is a policy, with 2 if there is no such file, and with 3 if it has an error.";

const SANDBOX_EXAMPLES: &str = "\
Examples:
  portcullis sandbox -- cargo test
  portcullis sandbox --policy locked -- python3 script.py
  portcullis sandbox --policy ./mine.toml --workspace ../other -- make";
