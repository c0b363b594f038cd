//! `portcullis mcp serve`: the tools for another agent, over standard input and output.

use std::io::{self, Write};

use clap::Args;

use crate::{
    cli::{
        args::{ApproverArguments, AskMode, Common},
        endpoint::Provider,
        exec::{ApproverChoice, ExecError},
        exit::Exit,
        gate,
        output::Output,
        report,
        resolve::{self, Folders},
        stop::stop_signal,
    },
    mcp::server::{self, Ended, ServeError},
    tools::Gate,
    ui::sanitize::visible_line,
};

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis mcp serve
  portcullis mcp serve --policy read-only --workspace ~/src/project
  portcullis mcp serve --ask always --approver \"$HOME/bin/ask-in-editor --quiet\"
  claude mcp add portcullis -- portcullis mcp serve --workspace \"$PWD\"

Ends with 0 when the caller closes its end, with 1 if what it says is not the protocol, and else with 2, 3, 4 or 6 as listed by `portcullis --help`;
before the first message is read, where the policy cannot be used or no sandbox can be made.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Ask more often than the policy does. Without --approver nobody can be asked here, so what would ask is refused.
    #[arg(long, value_name = "MODE")]
    ask: Option<AskMode>,
    #[command(flatten)]
    approver: ApproverArguments,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// What was typed or the environment is not as it must be, or the session could not begin.
    #[error(transparent)]
    Begin(#[from] ExecError),
    /// Standard input or output cannot be used.
    #[error("standard input and output cannot be used: {0}")]
    Streams(#[source] io::Error),
    /// It ended otherwise than by the caller.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Begin(error) => error.exit(),
            Self::Streams(_) | Self::Serve(ServeError::Log(_)) => Exit::Output,
            Self::Serve(ServeError::Launch(_)) => Exit::Sandbox,
            Self::Serve(ServeError::Gate(error)) => gate::exit(error),
            Self::Serve(ServeError::Protocol | ServeError::Hook { .. }) => Exit::Failure,
        }
    }
}

pub(super) fn run(arguments: Arguments) -> Exit {
    match serve(arguments) {
        Ok(Ended::Closed) => Exit::Success,
        Ok(Ended::Signal(number)) => {
            report(&"interrupted; all that the calls had started was ended");
            Exit::Signal(number)
        }
        Err(error) => {
            report(&error);
            error.exit()
        }
    }
}

fn serve(arguments: Arguments) -> Result<Ended, Failure> {
    let Arguments { common, ask, approver } = arguments;
    let output = Output::of_process().map_err(Failure::Streams)?;
    let folders = Folders::from_environment();
    // No model is asked here, yet the key of the one that would be may stand in the environment: it is kept from calls and approver all the same.
    let endpoint = Provider::default().described(&folders)?;
    let key = folders.environment.get(&endpoint.key_variable).map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
    let approver = ApproverChoice::from(approver).start(&folders, &endpoint.key_variable, key.as_deref()).map_err(ExecError::from)?;
    let resolved = resolve::resolve(common.workspace.as_deref(), common.policy.as_deref(), &folders).map_err(ExecError::from)?;
    let (_, mut gate) = gate::open(&resolved, key, ask.map(Into::into)).map_err(ExecError::from)?;
    gate = gate.with_hooks(resolve::hooks(&resolved, &folders).map_err(ExecError::from)?).map_err(ServeError::from)?;
    if let Some(approver) = approver {
        gate = gate.with_approver(approver).map_err(ServeError::from)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ExecError::Runtime)?;
    let ended: Result<Ended, Failure> = runtime.block_on(async {
        let stop = stop_signal().map_err(ExecError::Runtime)?;
        tokio::pin!(stop);
        tokio::select! {
            proven = server::prove(&gate) => proven?,
            number = &mut stop => return Ok(Ended::Signal(number)),
        }
        say(&gate);
        Ok(server::serve(&gate, io::stdin(), output, stop, |word| report(&word)).await?)
    });
    // The proof may have failed, or a signal come during it, before anything else closed the log.
    let closed = gate.log().close();
    if let Some(lost) = gate.log().told_loss() {
        report(&lost);
    }
    let ended = ended?;
    closed.map_err(ServeError::from)?;
    Ok(ended)
}

/// Where things are, for whoever looks into what the other agent keeps of standard error.
fn say(gate: &Gate) {
    let policy = gate.policy();
    let text = format!(
        "mcp serve: policy {} (sha256:{}), workspace {}, log {}",
        policy.name,
        policy.fingerprint(),
        gate.session().workspace.display(),
        gate.log().path().display()
    );
    let _ = writeln!(io::stderr(), "portcullis: {}", visible_line(&text));
}
