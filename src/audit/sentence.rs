//! What a record says, in words. The words are as hostile as the record: whoever shows them makes them fit for where they go.

use serde_json::Value;

use super::{
    reading::Entry,
    record::{CallStatus, Event},
};
use crate::egress::Ending;

/// The most bytes of one text that are shown; how long it is in all is said.
pub const TEXT_CAP: usize = 4096;

/// How it is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    /// What happened in the ordinary course.
    Plain,
    /// It worked.
    Good,
    /// Worth a look.
    Caution,
    /// Refused, broken or lost.
    Bad,
    /// Seldom of interest.
    Faint,
}

/// A record in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// How it is to be seen.
    pub mood: Mood,
    /// In a word or two.
    pub what: String,
    /// What about.
    pub text: String,
    /// One thing more on each line.
    pub more: Vec<(Mood, String)>,
}

impl Sentence {
    fn new(mood: Mood, what: &str, text: impl Into<String>) -> Self {
        Self { mood, what: what.to_owned(), text: text.into(), more: Vec::new() }
    }

    fn with(mut self, mood: Mood, line: Option<String>) -> Self {
        self.more.extend(line.map(|line| (mood, line)));
        self
    }
}

/// The beginning of a text, and how long it is if that is not all.
pub fn clipped(text: &str) -> String {
    if text.len() <= TEXT_CAP {
        return text.to_owned();
    }
    // A character is at most 4 bytes.
    let end = (TEXT_CAP - 3..=TEXT_CAP).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{} […] ({} bytes in all)", text.get(..end).unwrap_or_default(), text.len())
}

/// What a call is about, without the braces that a model wrapped it in.
pub fn action(tool: &str, arguments: &str) -> String {
    let fields = serde_json::from_str::<Value>(arguments).unwrap_or_default();
    let field = |name: &str| fields.get(name).and_then(Value::as_str);
    let text = match tool {
        "shell" => field("command").map(|command| {
            let folder = field("workdir").map(|folder| format!("  (in {folder})")).unwrap_or_default();
            format!("$ {command}{folder}")
        }),
        "apply_patch" => field("patch").map(|patch| format!("{}\n\n{patch}", patched(patch))),
        "read_file" | "list_dir" | "view_image" => field("path").map(str::to_owned),
        _ => None,
    };
    clipped(text.as_deref().unwrap_or(arguments))
}

/// The files that a patch is about.
fn patched(patch: &str) -> String {
    let file = |line: &str| {
        let (verb, file) = line.strip_prefix("*** ")?.split_once(" File: ")?;
        Some(format!("{} {file}", verb.to_lowercase()))
    };
    let files: Vec<String> = patch.lines().filter_map(file).take(50).collect();
    if files.is_empty() { "a patch".to_owned() } else { files.join(", ") }
}

/// How a call ended, in a word.
pub const fn status(status: CallStatus) -> (Mood, &'static str) {
    match status {
        CallStatus::Ok => (Mood::Good, "ok"),
        CallStatus::Failed => (Mood::Caution, "failed"),
        CallStatus::Refused => (Mood::Bad, "refused"),
        CallStatus::Limit => (Mood::Bad, "ended by a limit"),
        CallStatus::Broken => (Mood::Bad, "sandbox broken"),
        CallStatus::Interrupted => (Mood::Caution, "interrupted"),
    }
}

/// A duration as it is read most easily.
pub fn milliseconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

fn outcome(status_of: CallStatus, exit_code: Option<i32>, duration_ms: u64, output_bytes: u64) -> Sentence {
    let (mood, word) = status(status_of);
    let code = exit_code.map(|code| format!("exit {code}, ")).unwrap_or_default();
    Sentence::new(mood, word, format!("{code}{}, {output_bytes} bytes of output", milliseconds(duration_ms)))
}

/// What came of a connection, in two words, and why.
fn came_of(ending: &Ending) -> (Mood, &'static str, Option<String>) {
    let not_let_out = |why| (Mood::Bad, "not let out", why);
    match ending {
        Ending::Served => (Mood::Plain, "connected", None),
        Ending::Unreachable(why) => (Mood::Caution, "not reached", Some(clipped(why))),
        Ending::Refused(reason) => not_let_out(serde_json::to_value(reason).ok().and_then(|reason| reason.as_str().map(str::to_owned))),
        Ending::NoHost(why) => not_let_out(Some(clipped(why))),
        Ending::OtherName(other) => not_let_out(Some(format!("another host was named in it: {}", clipped(other)))),
    }
}

/// The record in words.
pub fn sentence(entry: &Entry) -> Sentence {
    use Mood::{Bad, Caution, Faint, Good, Plain};
    let Some(event) = &entry.event else { return unknown(entry) };
    match event {
        Event::LogOpened { key, .. } => Sentence::new(Faint, "log opened", format!("sealed with key {key}")),
        Event::Checkpoint { cause, records, head, .. } => {
            let cause = serde_json::to_value(cause).unwrap_or_default();
            let text = format!("{records} records, head {head} ({})", cause.as_str().unwrap_or_default());
            Sentence::new(Faint, "signed", text)
        }
        Event::LogTrouble { lost, error } => Sentence::new(Bad, "log trouble", format!("{lost} records were lost: {}", clipped(error))),
        Event::Policy { fingerprint, notes, .. } => {
            let mut said = Sentence::new(Plain, "policy", format!("sha256:{fingerprint}"));
            said.more.extend(notes.iter().map(|note| (Caution, clipped(note))));
            said
        }
        Event::Certificate { .. } => Sentence::new(Plain, "certificate", "the policy was probed against this kernel"),
        Event::SessionStart { version, workspace, policy, endpoint, model, uid, .. } => {
            let text = format!("{} under {}", clipped(workspace), clipped(policy));
            let who = format!("user {uid}, portcullis {version}, model {} at {}", clipped(model), clipped(endpoint));
            Sentence::new(Plain, "session", text).with(Faint, Some(who))
        }
        Event::Resumed { from } => Sentence::new(Plain, "resumed", format!("goes on with session {from}")),
        Event::Compaction { before_bytes, after_bytes, cause } => {
            Sentence::new(Faint, "compacted", format!("{before_bytes} to {after_bytes} bytes ({cause})"))
        }
        Event::CallIntent { tool, arguments, decision, decided_by, rule, opaque, .. } => {
            let allowed = decision == "allow";
            let (mood, word) = if allowed { (Faint, "allowed") } else { (Bad, "refused") };
            let rule = rule.as_ref().map(|rule| format!(": {}", clipped(rule))).unwrap_or_default();
            let opaque = opaque.as_ref().map(|opaque| format!("not plainly understood: {}", clipped(opaque)));
            let said = Sentence::new(if allowed { Plain } else { Bad }, &clipped(tool), action(tool, arguments));
            said.with(mood, Some(format!("{word} by {decided_by}{rule}"))).with(Caution, opaque)
        }
        Event::Question { because, shown, lasting, .. } => {
            let lasting = lasting.as_ref().map(|lasting| format!("for longer it would allow: {}", clipped(&lasting.sentence())));
            let said = Sentence::new(Caution, "asked", clipped(because));
            said.with(Faint, Some(format!("what was shown: sha256:{shown}"))).with(Faint, lasting)
        }
        Event::Answer { answer, by, waited_ms, text, .. } => {
            let mood = if matches!(answer.as_str(), "refuse" | "stop") { Bad } else { Good };
            let said = Sentence::new(mood, "answered", format!("{answer}, by {by}, after {}", milliseconds(*waited_ms)));
            said.with(Plain, text.as_ref().map(|text| clipped(text)))
        }
        Event::Granted { grant, permission, scope } => {
            Sentence::new(Caution, "granted", format!("{} {} (grant {grant})", clipped(&permission.sentence()), scope.words()))
        }
        Event::Revoked { grant } => Sentence::new(Good, "revoked", format!("grant {grant}")),
        Event::InForce { fingerprint, wider } => {
            let mut said = Sentence::new(Caution, "in force", format!("policy with grants, sha256:{fingerprint}"));
            said.more.extend(wider.iter().map(|wider| (Caution, clipped(&wider.sentence()))));
            said
        }
        Event::Server { server, approved, policy, .. } => {
            Sentence::new(Plain, "server", format!("{} under {}", clipped(server), clipped(policy)))
                .with(Faint, Some(format!("as approved: sha256:{approved}")))
        }
        Event::AskMode { mode } => {
            let mode = serde_json::to_value(mode).unwrap_or_default();
            Sentence::new(Caution, "ask mode", mode.as_str().unwrap_or_default())
        }
        Event::BackgroundEnd { status, exit_code, duration_ms, output_bytes, undone, .. } => {
            let mut said = outcome(*status, *exit_code, *duration_ms, *output_bytes);
            said.text.push_str(" (in the background)");
            said.more.extend(undone.iter().map(|undone| (Bad, format!("undone: {}", clipped(&undone.path.display().to_string())))));
            said
        }
        Event::CallOutcome { status, exit_code, duration_ms, output_bytes, denials, .. } => {
            let mut said = outcome(*status, *exit_code, *duration_ms, *output_bytes);
            said.more.extend(denials.iter().map(|denial| (Bad, clipped(&denial.sentence()))));
            said
        }
        Event::Connection { target, ending, rule, method, address, sent, received, duration_ms, .. } => {
            let method = method.as_ref().map(|method| format!("{} ", clipped(method))).unwrap_or_default();
            let (mood, word, why) = came_of(ending);
            let address = address.map(|address| format!(" at {address}")).unwrap_or_default();
            let passed = format!("{sent} bytes out, {received} in, {}", milliseconds(*duration_ms));
            let said = Sentence::new(mood, word, format!("{method}{}{address}: {passed}", clipped(target)));
            said.with(mood, why).with(Faint, rule.as_ref().map(|rule| clipped(rule)))
        }
        Event::ConnectionsMore { more, .. } => Sentence::new(Caution, "connections", format!("and {more} more of this call")),
        Event::Hook { hook, on, status: ended, duration_ms, decision, reason, .. } => {
            let (mood, word) = match (ended, decision.as_deref()) {
                (CallStatus::Ok, Some("refuse")) => (Bad, "refuse"),
                (CallStatus::Ok, Some("ask")) => (Caution, "ask"),
                (CallStatus::Ok, Some(decision)) => (Faint, decision),
                (ended, _) => status(*ended),
            };
            let text = format!("{} {}: {}, {}", clipped(hook), clipped(on), clipped(word), milliseconds(*duration_ms));
            Sentence::new(mood, "hook", text).with(mood, reason.as_ref().map(|reason| clipped(reason)))
        }
        Event::TurnEnd { outcome, requests, input_tokens, cached_tokens, output_tokens } => {
            let tokens = format!("{input_tokens} tokens in ({cached_tokens} from the cache), {output_tokens} out");
            Sentence::new(Faint, "turn ended", format!("{outcome}, {requests} requests, {tokens}"))
        }
        Event::SessionEnd => Sentence::new(Faint, "session ended", ""),
    }
}

fn unknown(entry: &Entry) -> Sentence {
    if entry.is_erased() {
        return Sentence::new(Mood::Caution, "erased", format!("what record {} said was taken out", entry.seq.unwrap_or_default()));
    }
    let said: Vec<String> = entry
        .fields
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "v" | "seq" | "session" | "time" | "monotonic_ns" | "event" | "salt" | "mac"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Sentence::new(Mood::Caution, &clipped(&entry.name), format!("this program does not know such an event: {}", clipped(&said.join(" "))))
}
