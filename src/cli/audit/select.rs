//! Which records are meant: the arguments that `show` and `export` share.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use crate::audit::filter::Filter;

#[derive(Debug, Args)]
pub(super) struct FilterArguments {
    /// Only calls of this tool.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Only calls that were decided so.
    #[arg(long, value_name = "DECISION")]
    decision: Option<Decision>,
    /// Only what was refused, by a rule, a person or the sandbox.
    #[arg(long)]
    denied: bool,
    /// Only calls whose arguments or refusals hold this path.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only calls whose arguments or refusals hold this host.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Not before: a time such as 2026-11-27T19:00:00Z or 2026-11-27, or how long ago, such as 2h or 7d.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<SystemTime>,
    /// Not after.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<SystemTime>,
    /// Only events of this name, such as `answer`. Can be given several times.
    #[arg(long = "event", value_name = "EVENT")]
    events: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Decision {
    /// They ran.
    Allow,
    /// They did not.
    Refuse,
}

impl FilterArguments {
    pub(super) fn filter(&self) -> Filter {
        let decision = self.decision.map(|decision| match decision {
            Decision::Allow => "allow".to_owned(),
            Decision::Refuse => "refuse".to_owned(),
        });
        Filter {
            tool: self.tool.clone(),
            decision,
            denied: self.denied,
            path: self.path.clone(),
            host: self.host.clone(),
            since: self.since,
            until: self.until,
            events: self.events.clone(),
        }
    }
}

/// A time, a day, or how long ago.
pub(super) fn moment(text: &str) -> Result<SystemTime, String> {
    let day = || humantime::parse_rfc3339_weak(&format!("{text} 00:00:00")).ok();
    let ago = || SystemTime::now().checked_sub(humantime::parse_duration(text).ok()?);
    let found = humantime::parse_rfc3339_weak(text).ok().or_else(day).or_else(ago).filter(|at| *at >= UNIX_EPOCH);
    found.ok_or_else(|| "it is a time such as 2026-11-27T19:00:00Z or 2026-11-27, or how long ago, such as 2h or 7d".to_owned())
}
