//! Earlier sessions of a workspace, to choose one from.

use std::{io, path::Path, time::SystemTime};

use super::{ChatError, Kept, Which};
use crate::{
    agent::{
        SessionError,
        rollout::{Listed, Reopened, Rollout, RolloutError, count, list},
    },
    approval::question::{Line, LineKind},
    ui::{choice::choose, sanitize::visible_line},
};

/// Sessions that are listed unless all are asked for.
const LISTED: usize = 20;
/// As many as there are keys for.
const OFFERED: usize = 9;

/// Opens the session that is meant; none if the person chose none.
pub(in crate::cli) fn find(kept: &Kept, state: &Path, workspace: &Path) -> Result<Option<Reopened>, ChatError> {
    let none = || SessionError::from(RolloutError::NoSuch { what: format!("of {}", workspace.display()) });
    let session = match &kept.which {
        Which::Session(session) => session.clone(),
        Which::Last => list(state, workspace, 1).into_iter().next().ok_or_else(none)?.header.session,
        Which::Chosen => {
            let found = list(state, workspace, OFFERED);
            if found.is_empty() {
                return Err(none().into());
            }
            match chosen(&found, count(state, workspace)).map_err(ChatError::Terminal)? {
                Some(session) => session,
                None => return Ok(None),
            }
        }
    };
    let opened = if kept.fork {
        Rollout::fork(state, workspace, &session, &uuid::Uuid::now_v7().to_string())
    } else {
        Rollout::open(state, workspace, &session)
    };
    Ok(Some(opened.map_err(SessionError::from)?))
}

fn chosen(found: &[Listed], all: usize) -> io::Result<Option<String>> {
    let keys: Vec<(char, String)> =
        found.iter().zip('1'..='9').take(OFFERED).map(|(listed, key)| (key, listed.header.session.clone())).collect();
    let mut lines = Vec::new();
    for (listed, (key, _)) in found.iter().zip(&keys) {
        lines.push(Line { kind: LineKind::Title, text: format!("{key}  {}", ago(listed.last)) });
        lines.push(Line { kind: LineKind::Text, text: listed.title.clone() });
    }
    if found.len() == OFFERED && all > OFFERED {
        lines.push(Line { kind: LineKind::Note, text: format!("{} older ones: `portcullis resume --list`", all - OFFERED) });
    }
    let last = keys.last().map_or('1', |(key, _)| *key);
    let offered: Vec<(char, &str)> = keys.iter().map(|(key, _)| (*key, if *key == last { "go on with this one" } else { "" })).collect();
    let answer = choose("Which session do you want to go on with?", &lines, &offered, &[])?;
    Ok(answer.and_then(|answer| keys.into_iter().find(|(key, _)| *key == answer)).map(|(_, session)| session))
}

/// The last ones or all of them, a line each.
pub(super) fn table(state: &Path, workspace: &Path, every: bool) -> String {
    let found = list(state, workspace, if every { usize::MAX } else { LISTED });
    if found.is_empty() {
        return format!("no session was kept for {}\n", visible_line(&workspace.display().to_string()));
    }
    let line = |listed: &Listed| format!("{}  {:>14}  {}\n", listed.header.session, ago(listed.last), visible_line(&listed.title));
    let mut text: String = found.iter().map(line).collect();
    let all = count(state, workspace);
    if !every && found.len() == LISTED && all > LISTED {
        text.push_str(&format!("{} older ones; --all lists them as well\n", all - LISTED));
    }
    text
}

fn ago(when: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(when).map_or(0, |passed| passed.as_secs());
    match seconds {
        0..=59 => "just now".to_owned(),
        60..=3_599 => format!("{} min ago", seconds / 60),
        3_600..=86_399 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
