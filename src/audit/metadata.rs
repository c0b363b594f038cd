//! Records without what calls and people said: who decided what about which tool, when, and how it ended (`[audit] detail = "metadata"`).

use super::record::Event;
use crate::{egress::Ending, policy::Permission};

/// What stands in place of a text.
fn length(text: &str) -> String {
    format!("[not recorded: {} bytes]", text.len())
}

/// The event without its texts. Rules, tools, decisions, times, counts and hashes stay.
pub fn only(event: Event) -> Event {
    let bare = |text: String| length(&text);
    match event {
        Event::CallIntent { call, tool, arguments, decision, decided_by, rule, opaque } => Event::CallIntent {
            call,
            tool,
            arguments: bare(arguments),
            // The reason of a refusal quotes what was refused.
            rule: if decision == "allow" { rule } else { rule.map(bare) },
            decision,
            decided_by,
            opaque: opaque.map(bare),
        },
        Event::Question { call, shown, because, lasting } => {
            Event::Question { call, shown, because, lasting: lasting.map(without_command) }
        }
        Event::Answer { call, answer, by, waited_ms, text } => Event::Answer { call, answer, by, waited_ms, text: text.map(bare) },
        Event::Granted { grant, permission, scope } => Event::Granted { grant, permission: without_command(permission), scope },
        Event::CallOutcome {
            call,
            status,
            exit_code,
            duration_ms,
            output_bytes,
            peak_bytes,
            applied,
            mut denials,
            refused_calls,
            image,
        } => {
            for denial in &mut denials {
                denial.resource = length(&denial.resource);
                denial.grant = denial.grant.take().map(bare);
                denial.wider = None;
            }
            Event::CallOutcome { call, status, exit_code, duration_ms, output_bytes, peak_bytes, applied, denials, refused_calls, image }
        }
        Event::Connection { call, target, protocol, ending, sent, received, duration_ms, .. } => Event::Connection {
            call,
            target: bare(target),
            protocol,
            method: None,
            address: None,
            // The kinds of an ending say who decided; what clients said is left out.
            ending: match ending {
                Ending::NoHost(_) => Ending::NoHost(String::new()),
                Ending::OtherName(_) => Ending::OtherName(String::new()),
                Ending::Unreachable(_) => Ending::Unreachable(String::new()),
                other => other,
            },
            rule: None,
            sent,
            received,
            duration_ms,
        },
        Event::Hook { hook, on, call, status, duration_ms, decision, reason } => {
            Event::Hook { hook, on, call, status, duration_ms, decision, reason: reason.map(bare) }
        }
        other => other,
    }
}

/// What lies in files is a policy's business and stays; a command's text does not.
fn without_command(permission: Permission) -> Permission {
    match permission {
        Permission::Exactly { command, cwd } => Permission::Exactly { command: length(&command), cwd },
        Permission::Words { words } => Permission::Words { words: words.into_iter().take(1).collect() },
        other => other,
    }
}
