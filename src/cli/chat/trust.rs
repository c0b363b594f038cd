//! Whether a folder is to be worked in at all: asked the first time, and again when it configures something else.

use std::path::Path;

use crate::{
    agent::prefix::instruction_candidates,
    approval::{
        Repository,
        question::{Line, LineKind},
        trust::{Configured, Said, Standing, Trust, digest},
    },
    cli::resolve::PROJECT_POLICY,
    ui::choice::choose,
};

/// Why no session begins.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum TrustError {
    /// The person does not trust the folder.
    #[error("{folder} is not trusted; nothing was taken from it, and nothing was started")]
    Refused {
        /// Which.
        folder: String,
    },
    /// It cannot be shown, so it cannot be asked about.
    #[error("what {folder} would configure cannot be shown: {source}")]
    Unseen {
        /// Which.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what was shown any more.
    #[error("what {folder} configures has changed since it was shown; start again to see it")]
    Changed {
        /// Which.
        folder: String,
    },
}

/// A folder that is trusted as it was shown.
#[derive(Debug)]
pub(super) struct Trusted<'a> {
    workspace: &'a Path,
    cwd: &'a Path,
    digest: String,
}

/// Shows what a folder would configure and asks, unless that was done before.
pub(super) fn ask<'a>(workspace: &'a Path, cwd: &'a Path, state: &Path) -> Result<Trusted<'a>, TrustError> {
    let folder = || workspace.display().to_string();
    let unseen = |source| TrustError::Unseen { folder: folder(), source };
    let configured = look(workspace, cwd)?;
    let digest = digest(&configured);
    let repository = Repository::of(workspace).map_err(unseen)?;
    let trust = Trust::new(state);
    let title = match trust.standing(&repository, &digest) {
        Standing::Trusted => return Ok(Trusted { workspace, cwd, digest }),
        Standing::Unknown => "Do you trust this folder?",
        Standing::Changed => "This folder configures something else than when you trusted it. Do you trust it still?",
    };
    let answer =
        choose(title, &lines(workspace, &configured), &[('y', "trust it, and remember"), ('n', "leave")], &['y']).map_err(unseen)?;
    if answer != Some('y') {
        return Err(TrustError::Refused { folder: folder() });
    }
    trust.remember(&repository, &digest).map_err(unseen)?;
    Ok(Trusted { workspace, cwd, digest })
}

impl Trusted<'_> {
    /// An error if the folder configures something else than was shown.
    pub(super) fn still(&self) -> Result<(), TrustError> {
        if digest(&look(self.workspace, self.cwd)?) == self.digest {
            Ok(())
        } else {
            Err(TrustError::Changed { folder: self.workspace.display().to_string() })
        }
    }
}

/// Everything in a folder that portcullis takes something from.
fn look(workspace: &Path, cwd: &Path) -> Result<Vec<Configured>, TrustError> {
    let policy = (PROJECT_POLICY.to_owned(), "narrows what calls may do here");
    let instructions = instruction_candidates(workspace, cwd).into_iter().map(|path| (path, "instructions to the model"));
    let mut found = Vec::new();
    for (path, effect) in [policy].into_iter().chain(instructions) {
        let looked = Configured::look(workspace, &path, effect);
        let looked = looked.map_err(|source| TrustError::Unseen { folder: workspace.join(&path).display().to_string(), source })?;
        found.extend(looked);
    }
    Ok(found)
}

fn lines(workspace: &Path, configured: &[Configured]) -> Vec<Line> {
    let line = |kind, text: String| Line { kind, text };
    let mut lines = vec![
        line(LineKind::Title, "the folder".to_owned()),
        line(LineKind::Note, workspace.display().to_string()),
        line(LineKind::Title, "what it would configure".to_owned()),
    ];
    if configured.is_empty() {
        lines.push(line(LineKind::Note, "nothing: it has no policy of its own and no instructions to the model".to_owned()));
    }
    for file in configured {
        lines.push(line(LineKind::Title, format!("{}: {}", file.path, file.effect)));
        match &file.said {
            Said::Text(text) => lines.extend(text.lines().map(|text| line(LineKind::Text, text.to_owned()))),
            Said::Odd(what) => lines.push(line(LineKind::Warning, what.clone())),
        }
    }
    lines.push(line(LineKind::Title, "what trust means".to_owned()));
    for text in [
        "The model will read and change files here, and run programs, confined by the policy that you chose.",
        "Its own policy can only narrow that. Its text can mislead the model. No settings of git, of an editor or of another agent take effect.",
    ] {
        lines.push(line(LineKind::Note, text.to_owned()));
    }
    lines
}
