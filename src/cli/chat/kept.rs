//! Earlier sessions of a workspace, to choose one from.

use std::{io, path::Path, time::SystemTime};

use super::{ChatError, Kept, Which};
use crate::{
    agent::{
        SessionError,
        rollout::{Listed, Reopened, Rollout, RolloutError, list},
    },
    approval::question::{Line, LineKind},
    ui::{choice::choose, sanitize::visible_line},
};

/// As many as there are keys for.
const OFFERED: usize = 9;

/// Opens the session that is meant; none if the person chose none.
pub(super) fn find(kept: &Kept, state: &Path, workspace: &Path) -> Result<Option<Reopened>, ChatError> {
    let none = || SessionError::from(RolloutError::NoSuch { what: format!("of {}", workspace.display()) });
    let session = match &kept.which {
        Which::Session(session) => session.clone(),
        Which::Last => list(state, workspace).into_iter().next().ok_or_else(none)?.header.session,
        Which::Chosen => {
            let found = list(state, workspace);
            if found.is_empty() {
                return Err(none().into());
            }
            match chosen(&found).map_err(ChatError::Terminal)? {
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

fn chosen(found: &[Listed]) -> io::Result<Option<String>> {
    let keys: Vec<(char, String)> =
        found.iter().zip('1'..='9').take(OFFERED).map(|(listed, key)| (key, listed.header.session.clone())).collect();
    let mut lines = Vec::new();
    for (listed, (key, _)) in found.iter().zip(&keys) {
        lines.push(Line { kind: LineKind::Title, text: format!("{key}  {}", ago(listed.last)) });
        lines.push(Line { kind: LineKind::Text, text: listed.title.clone() });
    }
    if found.len() > OFFERED {
        lines.push(Line { kind: LineKind::Note, text: format!("{} older ones: `portcullis resume --list`", found.len() - OFFERED) });
    }
    let last = keys.last().map_or('1', |(key, _)| *key);
    let offered: Vec<(char, &str)> = keys.iter().map(|(key, _)| (*key, if *key == last { "go on with this one" } else { "" })).collect();
    let answer = choose("Which session do you want to go on with?", &lines, &offered, &[])?;
    Ok(answer.and_then(|answer| keys.into_iter().find(|(key, _)| *key == answer)).map(|(_, session)| session))
}

/// All of them, a line each.
pub(super) fn table(state: &Path, workspace: &Path) -> String {
    let found = list(state, workspace);
    if found.is_empty() {
        return format!("no session was kept for {}\n", visible_line(&workspace.display().to_string()));
    }
    found.iter().map(|listed| format!("{}  {:>14}  {}\n", listed.header.session, ago(listed.last), visible_line(&listed.title))).collect()
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
