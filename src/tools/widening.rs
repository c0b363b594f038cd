//! Wider access: what the model asks for, and what a refused command lacked. Granted one thing at a time; the call still runs confined.

use std::rc::Rc;

use super::{
    access::{Grantable, NotGrantable, absolute, examine},
    confinement::Confinement,
    deciding::refused,
    gate::{Gate, GateError},
    invocation::{AccessKind, AccessRequest},
    outcome::Done,
    shell::Command,
};
use crate::{
    approval::{Answer, Answered, Permission, Question, question::Subject},
    audit::{CallStatus, Denial},
    policy::{Ask, Wider, summary},
    worker::Request,
};

/// How many refusals of one call a person is asked about.
const OFFERS: usize = 3;

impl Gate {
    /// Asks a person for what the model asks for.
    pub(super) async fn request_access(&self, id: &str, request: &AccessRequest) -> Result<Done, GateError> {
        let path = || absolute(&request.what, &self.cwd, &self.session.home);
        let asked = match request.access {
            AccessKind::Read => Wider::Read(path()),
            AccessKind::Write => Wider::Write(path()),
            AccessKind::Host => Wider::Host(request.what.clone()),
            AccessKind::Socket => Wider::Socket(path()),
        };
        let refuse = |why: &str| Ok(Done::refused(format!("Refused: {why}")));
        if self.redact(&request.what) != request.what {
            return refuse("what is asked for holds a secret");
        }
        let found = match self.examine(&asked) {
            Ok(found) => found,
            Err(NotGrantable::Given(rule)) => return Ok(Done::ok(format!("Nothing to grant: {}", NotGrantable::Given(rule)))),
            Err(error) => return refuse(&error.to_string()),
        };
        if self.ask.get() == Ask::Never {
            return refuse("nobody is asked ([approval] ask = \"never\")");
        }
        if !self.asker.is_anybody() {
            self.unasked.set(self.unasked.get() + 1);
            return refuse("a person would have to grant this, and none can be asked here");
        }
        let because = "the model asks for more than the policy gives".to_owned();
        let question = self.question_of(id, "request_access", &found.wider, &request.reason, found.warnings, None, because);
        let Answered { answer, by, why } = self.put(&question).await?;
        let lasting = match answer {
            Answer::Once => None,
            Answer::Always { scope, permission } => Some((scope, permission)),
            Answer::Edit { .. } => return refuse("it can only be granted as it is"),
            Answer::Refuse { say } => {
                self.granted.borrow_mut().decline(found.wider);
                return refuse(&refused(by, say.as_deref(), why.as_deref()));
            }
            Answer::Stop => {
                self.record_outcome(id, 0, &Done::refused(String::new()))?;
                return Err(GateError::Stopped);
            }
        };
        if let Some(why) = self.try_out(&found.wider).await? {
            return refuse(&why);
        }
        let sentence = found.wider.sentence();
        Ok(Done::ok(match lasting {
            None => {
                self.granted.borrow_mut().once(found.wider);
                format!("Granted for the next call of shell (not in the background) or a file tool: {sentence}.")
            }
            Some((scope, permission)) => {
                self.grant(permission, scope)?;
                format!("Granted {}: {sentence}.", scope.words())
            }
        }))
    }

    /// Runs a command, and where it fails for want of something that a person can grant, offers that and runs it again.
    pub(super) async fn shell_or_widen(&self, what: &Command<'_>, confinement: &Rc<Confinement>) -> Result<Done, GateError> {
        let done = self.shell(what, confinement).await?;
        if done.status != CallStatus::Failed || !self.asker.is_anybody() || self.ask.get() == Ask::Never {
            return Ok(done);
        }
        let mut given: Vec<Wider> = Vec::new();
        for denial in done.denials.iter().take(OFFERS) {
            match self.offer(what, denial).await? {
                Offered::Given(wider) => given.push(wider),
                Offered::Nothing => {}
                Offered::Stopped => {
                    self.record_outcome(what.id, 0, &done)?;
                    return Err(GateError::Stopped);
                }
            }
        }
        if given.is_empty() {
            return Ok(done);
        }
        // The first run is on record with what came of it before the second one starts.
        self.record_outcome(what.id, 0, &done)?;
        let wider = self.confinement_with(&given)?;
        let again = self.shell(what, &wider).await?;
        let granted: Vec<String> = given.iter().map(Wider::sentence).collect();
        let first = done.text.lines().next().unwrap_or_default();
        let note = format!(
            "It was refused what it needed ({first}). A person granted this: {}. It was run again, and this is what came of it then:\n",
            granted.join("; ")
        );
        Ok(Done { text: format!("{note}{}", again.text), ..again })
    }

    /// Looks at what is asked for, under what is in force.
    fn examine(&self, wider: &Wider) -> Result<Grantable, NotGrantable> {
        let found = examine(wider, &self.confinement().policy, &self.session)?;
        match &found.wider {
            Wider::Write(path) if self.answering.iter().any(|file| file.starts_with(path)) => {
                Err(NotGrantable::Refused(format!("{} cannot be granted: the program that answers questions lies there", path.display())))
            }
            Wider::Write(path) if self.is_of_hooks(path) => {
                Err(NotGrantable::Refused(format!("{} cannot be granted: a hook of the person's lies there", path.display())))
            }
            _ => Ok(found),
        }
    }

    /// Offers what one refusal lacked.
    async fn offer(&self, what: &Command<'_>, denial: &Denial) -> Result<Offered, GateError> {
        let Some(wider) = &denial.wider else { return Ok(Offered::Nothing) };
        // A file that is to be made is made in its folder.
        let found = self.examine(wider).or_else(|error| match wider {
            Wider::Write(path) if !path.exists() => {
                path.parent().map_or(Err(error), |folder| self.examine(&Wider::Write(folder.to_path_buf())))
            }
            _ => Err(error),
        });
        let Ok(found) = found else { return Ok(Offered::Nothing) };
        if self.granted.borrow().is_declined(&found.wider) {
            return Ok(Offered::Nothing);
        }
        let reason = format!("it was refused to {} {} (rule {}; {})", denial.access, denial.resource, denial.rule, denial.certainty);
        let because = "the command failed, and was refused this".to_owned();
        let question = self.question_of(what.id, "shell", &found.wider, &reason, found.warnings, Some(what.command), because);
        let lasting = match self.put(&question).await?.answer {
            Answer::Once => None,
            Answer::Always { scope, permission } => Some((scope, permission)),
            Answer::Edit { .. } | Answer::Refuse { .. } => {
                self.granted.borrow_mut().decline(found.wider);
                return Ok(Offered::Nothing);
            }
            Answer::Stop => return Ok(Offered::Stopped),
        };
        if self.try_out(&found.wider).await?.is_some() {
            return Ok(Offered::Nothing);
        }
        if let Some((scope, permission)) = lasting {
            self.grant(permission, scope)?;
        }
        Ok(Offered::Given(found.wider))
    }

    /// Whether a sandbox with this access can be made at all; if not, why. Better to know before it is remembered.
    async fn try_out(&self, wider: &Wider) -> Result<Option<String>, GateError> {
        let confinement = self.confinement_with(std::slice::from_ref(wider))?;
        let request = Request::ListDir { path: ".".to_owned(), depth: Some(1), limit: Some(1) };
        match self.serve_confined(&request, &confinement).await {
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(format!("no sandbox can be made with it: {error}"))),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one question, put together in one place")]
    fn question_of(
        &self,
        id: &str,
        tool: &str,
        wider: &Wider,
        reason: &str,
        warnings: Vec<String>,
        repeats: Option<&str>,
        because: String,
    ) -> Question {
        Question {
            call: id.to_owned(),
            tool: tool.to_owned(),
            subject: Subject::Wider {
                wider: wider.clone(),
                reason: self.redact(reason),
                warnings,
                repeats: repeats.map(|command| self.redact(command)),
            },
            because,
            cwd: self.cwd.clone(),
            access: summary(&self.confinement().policy, true, true),
            lasting: self.lasting(Permission::Wider(wider.clone()), 0),
        }
    }
}

enum Offered {
    Given(Wider),
    Nothing,
    Stopped,
}
