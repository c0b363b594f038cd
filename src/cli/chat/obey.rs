//! Does what is asked for with a slash.

use std::path::Path;

use super::{
    command::{self, Command},
    talk::{Doing, Ended, Next, Talk, shown},
};
use crate::{
    agent::TurnError,
    approval::Grant,
    cli::{exec::ExecError, exit::Exit},
    model::Usage,
    policy::claims,
    tools::{AttachError, Gate},
    ui::{
        sanitize::{visible, visible_line},
        screen::dollars,
        status::asks,
        style::Tone,
    },
};

/// Lines of a diff or of a program's output that are shown.
const SHOWN_LINES: usize = 400;

impl Talk {
    /// Obeys one line.
    pub(super) async fn obey(&mut self, line: &str) -> Result<Next, ExecError> {
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(error) => {
                self.say(Tone::Caution, &visible(&error))?;
                return Ok(Next::Goes);
            }
        };
        match command {
            Command::Resume => return Ok(Next::Ends(Ended::Resume)),
            Command::Quit => return Ok(Next::Ends(Ended::Exit(Exit::Success))),
            Command::Help => {
                for (name, what) in command::ALL {
                    self.say(Tone::Plain, &format!("{name:<12} {what}"))?;
                }
            }
            Command::Policy => self.say(Tone::Plain, &visible(&policy_text(self.session.gate())))?,
            Command::Ask(None) => self.say(Tone::Plain, &format!("portcullis {}.", asks(self.session.gate().ask_mode())))?,
            Command::Ask(Some(mode)) => match self.session.gate().set_ask_mode(mode) {
                Ok(()) => self.say(Tone::Plain, &format!("From here on portcullis {}. The model is told.", asks(mode)))?,
                Err(error) => self.say(Tone::Bad, &visible(&error))?,
            },
            Command::Diff => self.diff().await?,
            Command::Grants => self.say(Tone::Plain, &visible(&grants_text(self.session.gate())))?,
            Command::Revoke(id) => {
                let found = self.session.gate().revoke(&id).map_err(TurnError::from)?;
                let text =
                    if found { "Taken back. The model is told." } else { "No grant that holds here has this id; /grants lists them." };
                self.say(Tone::Plain, text)?;
            }
            Command::Background => self.say(Tone::Plain, &visible(&self.session.gate().background_text()))?,
            Command::Output(number) => match self.session.gate().background_output(number) {
                Some(text) => self.page(&text)?,
                None => self.say(Tone::Caution, "Nothing in the background has this number.")?,
            },
            Command::Stop(number) => {
                let stopped = self.session.gate().background_stop(number).await;
                let text =
                    if stopped { "Stopped, with all that it had started." } else { "Nothing that runs in the background has this number." };
                self.say(Tone::Plain, text)?;
            }
            Command::Compact => return self.watched(Doing::Compact).await,
            Command::Cost => {
                let text = {
                    let mut screen = self.screen.borrow_mut();
                    let status = screen.status();
                    let (input, cached, output) = status.tokens();
                    let rate = status.hit_rate().map_or_else(String::new, |rate| format!(" ({rate} %)"));
                    let usage = Usage { input_tokens: input, cached_tokens: cached, output_tokens: output, ..Usage::default() };
                    let cost = self.session.cost(&usage).map_or_else(String::new, |cost| format!(", {} in all", dollars(cost)));
                    format!("{input} tokens in, {cached} of them from the provider's cache{rate}; {output} tokens out{cost}.")
                };
                let misses: Vec<String> =
                    self.session.misses().iter().map(|(why, times)| format!("cache missed {times}×: {why}")).collect();
                let text = [vec![text], misses].concat().join("\n");
                self.say(Tone::Plain, &text)?;
            }
            Command::Image(file) => self.attach(Path::new(&file)).await?,
            Command::Log => {
                let path = visible_line(&self.session.gate().log().path().display().to_string());
                self.screen.borrow_mut().say_whole(&path).map_err(shown)?;
            }
        }
        Ok(Next::Goes)
    }

    /// Has an image go along with the next prompt.
    pub(super) async fn attach(&mut self, file: &Path) -> Result<(), ExecError> {
        match self.session.gate().attach(file).await {
            Ok(attachment) => {
                let text = format!("{} goes along with your next prompt.", visible_line(&attachment.label));
                self.attached.push(attachment);
                self.say(Tone::Plain, &text)
            }
            Err(AttachError::Refused(why)) => self.say(Tone::Bad, &visible(&format!("The image is not sent: {why}"))),
            Err(AttachError::Gate(error)) => Err(TurnError::from(error).into()),
        }
    }

    /// What differs from the last commit, by the person's wish but in a sandbox: a repository's settings can name programs.
    async fn diff(&mut self) -> Result<(), ExecError> {
        const DIFF: &str = "git --no-pager diff --no-color --no-ext-diff --no-textconv HEAD && git ls-files --others --exclude-standard | sed 's/^/new: /'";
        let outcome = self.session.gate().look("diff", DIFF).await.map_err(TurnError::from)?;
        if outcome.trim().is_empty() {
            return self.say(Tone::Plain, "Nothing differs from the last commit.");
        }
        self.page(&outcome)
    }

    /// Text of a program, coloured where it is a diff.
    fn page(&self, text: &str) -> Result<(), ExecError> {
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(SHOWN_LINES) {
            let tone = match line.as_bytes().first() {
                Some(b'+') => Tone::Good,
                Some(b'-') => Tone::Bad,
                Some(b'@') => Tone::Accent,
                _ => Tone::Plain,
            };
            self.say(tone, &visible_line(line))?;
        }
        if lines.len() > SHOWN_LINES {
            self.say(Tone::Faint, &format!("… {} more lines", lines.len() - SHOWN_LINES))?;
        }
        Ok(())
    }
}

fn policy_text(gate: &Gate) -> String {
    let policy = gate.policy_in_force();
    let mut text = format!("policy {} ({})\n", policy.name, policy.fingerprint());
    for (file, role) in &policy.sources {
        text.push_str(&format!("  {file}: {role}\n"));
    }
    for claim in claims(&policy) {
        text.push_str(&format!("- {}\n", claim.text));
    }
    text
}

fn grants_text(gate: &Gate) -> String {
    let grants = gate.grants();
    if grants.is_empty() {
        return "Nothing is granted beyond the policy.".to_owned();
    }
    let line = |grant: &Grant| format!("{}  {} ({})", grant.id, grant.permission.sentence(), grant.scope.words());
    grants.iter().map(line).collect::<Vec<_>>().join("\n")
}
