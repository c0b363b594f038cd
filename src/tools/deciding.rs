//! From a call to what becomes of it: the rules, what was granted, and where neither decides a question.

use std::{ops::ControlFlow, rc::Rc, time::Instant};

use super::{
    confinement::Confinement,
    gate::{Gate, GateError},
    hooks::{Before, Call},
    invocation::Invocation,
    recorded::milliseconds,
    verdict,
};
use crate::{
    approval::{
        Answer, Answered, By, Judged, Judgement, Permission, Question, Rules, Scope,
        question::{Lasting, Part, Subject},
    },
    audit::Event,
    policy::{Ask, summary},
    worker::Request,
};

/// What becomes of a call.
#[derive(Debug)]
pub(super) struct Settled {
    /// The call, or why it does not run, in words that follow "Refused: ".
    pub(super) invocation: Result<Invocation, String>,
    /// Its arguments, where a person changed them.
    pub(super) arguments: Option<String>,
    /// Who decided, as the log says it.
    pub(super) decided_by: &'static str,
    /// The rule or grant by which it runs.
    pub(super) rule: Option<String>,
    /// What of a shell command is not plainly understood.
    pub(super) opaque: Option<String>,
    /// What it is confined to.
    pub(super) confinement: Rc<Confinement>,
    /// What the model is told besides.
    pub(super) notes: Vec<String>,
    /// Whether the person ends the turn.
    pub(super) stops: bool,
}

impl Settled {
    /// It does not run.
    fn refuse(self, decided_by: &'static str, reason: String) -> Self {
        // What a person made of it has not run either.
        let changed = self.arguments.is_some().then(|| "The person had changed the command; what they made of it did not run.".to_owned());
        Self { decided_by, invocation: Err(reason), notes: changed.into_iter().collect(), ..self }
    }
}

/// How often one call may be edited before it has to be answered.
const EDITS: usize = 20;

/// The word that the log has for whoever answered.
pub(super) const fn word(by: By) -> &'static str {
    match by {
        By::Person => "person",
        By::Approver => "approver",
        By::Timeout => "timeout",
        By::Nobody => "nobody",
    }
}

impl Gate {
    /// Decides on a call, and asks where that takes a person.
    pub(super) async fn settle(&self, id: &str, name: &str, arguments: &str) -> Result<Settled, GateError> {
        let mut settled = Settled {
            invocation: Err(String::new()),
            arguments: None,
            decided_by: "policy",
            rule: None,
            opaque: None,
            confinement: self.confinement(),
            notes: Vec::new(),
            stops: false,
        };
        let mut invocation = match self.understand(name, arguments) {
            Ok(invocation) => invocation,
            Err(reason) => return Ok(settled.refuse("arguments", reason)),
        };
        for _ in 0..EDITS {
            settled.rule = None;
            let (judgement, judged) = self.judge(&invocation);
            settled.opaque = judged.as_ref().and_then(|judged| judged.opaque.as_ref()).map(|opaque| opaque.what.clone());
            let (rule, asks) = match judgement {
                Judgement::Allow { rule } => (rule, None),
                Judgement::Forbid { reason } => {
                    let reason = match &invocation {
                        Invocation::Guest(_) => reason,
                        _ => format!("the policy forbids this command: {reason}"),
                    };
                    return Ok(settled.refuse("rule", reason));
                }
                Judgement::Ask { reason } => (None, Some(reason)),
            };
            let call = Call { id, tool: name, arguments: settled.arguments.as_deref().unwrap_or(arguments) };
            let hooked = match self.before_call(&call).await? {
                Before::Goes => None,
                Before::Asks { hook, because } => Some((hook, because)),
                Before::Refuses(reason) => return Ok(settled.refuse("hook", reason)),
            };
            let because = match (asks, &hooked) {
                (None, None) => {
                    if let Invocation::Guest(call) = &invocation {
                        (settled.decided_by, settled.rule) = ("rule", Some(format!("[server.{}] decisions in mcp.toml", call.server)));
                    }
                    if let Some(rule) = rule {
                        (settled.decided_by, settled.rule) = ("rule", Some(rule.origin.to_string()));
                    }
                    return self.allowed(settled, invocation);
                }
                (Some(reason), None) => {
                    if let Some(grant) = self.covering(&invocation) {
                        (settled.decided_by, settled.rule) = ("grant", Some(grant));
                        return self.allowed(settled, invocation);
                    }
                    reason
                }
                // What was granted answers a rule, and no hook.
                (asks, Some((hook, because))) => {
                    settled.rule = Some(hook.clone());
                    asks.map_or_else(|| because.clone(), |reason| format!("{because}; {reason}"))
                }
            };
            let never = hooked.is_some() && self.ask.get() == Ask::Never;
            if never || !self.asker.is_anybody() {
                self.unasked.set(self.unasked.get() + 1);
                let nobody = if never { "in this mode nobody is" } else { "none can be asked here" };
                return Ok(settled.refuse("nobody", format!("a person would have to approve this, and {nobody}: {because}")));
            }
            let mut question = self.question(id, name, &invocation, judged.as_ref(), because);
            if hooked.is_some() {
                // It asks about each call anew.
                question.lasting = None;
            }
            match self.follow_answer(self.put(&question).await?, settled, invocation)? {
                ControlFlow::Break(done) => return Ok(done),
                ControlFlow::Continue(changed) => (settled, invocation) = changed,
            }
        }
        let decided_by = settled.decided_by;
        Ok(settled.refuse(decided_by, format!("it was changed {EDITS} times and never approved")))
    }

    /// What an answer makes of a call. One that was changed has to be decided on anew.
    fn follow_answer(
        &self,
        Answered { answer, by, why }: Answered,
        mut settled: Settled,
        mut invocation: Invocation,
    ) -> Result<ControlFlow<Settled, (Settled, Invocation)>, GateError> {
        settled.decided_by = word(by);
        Ok(ControlFlow::Break(match answer {
            Answer::Once => self.allowed(settled, invocation)?,
            Answer::Always { scope, permission } => {
                let grant = self.grant(permission, scope)?;
                settled.rule = Some(format!("{} ({})", grant.permission.sentence(), scope.words()));
                self.allowed(settled, invocation)?
            }
            Answer::Edit { command } => match &mut invocation {
                Invocation::Shell { command: text, workdir, timeout_ms, background } => {
                    text.clone_from(&command);
                    settled.notes = vec![format!("The person changed the command; this was run instead: {command}")];
                    let changed =
                        serde_json::json!({"command": command, "workdir": workdir, "timeout_ms": timeout_ms, "background": background});
                    settled.arguments = Some(changed.to_string());
                    return Ok(ControlFlow::Continue((settled, invocation)));
                }
                _ => settled.refuse(word(by), "it can only be approved as it is".to_owned()),
            },
            Answer::Refuse { say } => settled.refuse(word(by), refused(by, say.as_deref(), why.as_deref())),
            Answer::Stop => Settled { stops: true, ..settled.refuse(word(by), "the person stopped the turn".to_owned()) },
        }))
    }

    /// The call runs. If it is one that can reach for files, it uses up what was granted for one call.
    fn allowed(&self, mut settled: Settled, invocation: Invocation) -> Result<Settled, GateError> {
        // A program in the background goes on for longer than the one call that a person had in mind.
        if matches!(invocation, Invocation::Shell { background: false, .. } | Invocation::File(_)) {
            settled.confinement = self.confinement_of_call()?;
        }
        settled.invocation = Ok(invocation);
        Ok(settled)
    }

    fn judge(&self, invocation: &Invocation) -> (Judgement, Option<Judged>) {
        match invocation {
            Invocation::Guest(call) => (self.judge_guest(call), None),
            _ => verdict::judge(&self.rules(), invocation),
        }
    }

    /// What was granted and covers a call as a whole.
    fn covering(&self, invocation: &Invocation) -> Option<String> {
        let permission = self.whole(invocation)?;
        self.granted.borrow().of(&permission).map(|grant| format!("{} ({})", grant.permission.sentence(), grant.id))
    }

    /// The permission that covers a call whatever is in it.
    fn whole(&self, invocation: &Invocation) -> Option<Permission> {
        match invocation {
            // In the background it goes on, which is more than the same text in a call.
            Invocation::Shell { command, workdir, background: false, .. } => {
                Some(Permission::Exactly { command: command.clone(), cwd: self.folder(workdir.as_deref()) })
            }
            Invocation::File(Request::ApplyPatch { .. }) => Some(Permission::Patching),
            Invocation::File(_) => Some(Permission::Reading),
            Invocation::Guest(call) => Some(Permission::ServerTool { server: call.server.clone(), tool: call.tool.clone() }),
            _ => None,
        }
    }

    fn question(&self, id: &str, tool: &str, invocation: &Invocation, judged: Option<&Judged>, because: String) -> Question {
        let mut cwd = self.cwd.clone();
        let mut offered = self.whole(invocation).map(|permission| (permission, 0));
        let subject = match invocation {
            Invocation::Shell { command, workdir, background, .. } => {
                cwd = self.folder(workdir.as_deref());
                let bound = |name: &str| self.binaries([name]).finds(name);
                if let Some((words, shortest)) = judged.and_then(|judged| Rules::words_to_grant(judged, &bound)) {
                    offered = Some((Permission::Words { words }, shortest));
                }
                Subject::Command {
                    text: self.redact(command),
                    parts: judged.map(|judged| self.parts(judged)).unwrap_or_default(),
                    opaque: judged.and_then(|judged| judged.opaque.as_ref()).map(|opaque| self.redact(&opaque.what)),
                    background: *background,
                }
            }
            Invocation::File(Request::ApplyPatch { patch }) => Subject::Patch { text: self.redact(patch) },
            Invocation::File(request) => Subject::Call { text: self.redact(&request.sentence()) },
            Invocation::Guest(call) => {
                let arguments = serde_json::to_string_pretty(&call.arguments).unwrap_or_default();
                Subject::Call { text: self.redact(&format!("{} of the MCP server {}, with\n{arguments}", call.tool, call.server)) }
            }
            _ => Subject::Call { text: tool.to_owned() },
        };
        let writes = !matches!(invocation, Invocation::File(request) if !matches!(request, Request::ApplyPatch { .. }));
        let programs = matches!(invocation, Invocation::Shell { .. } | Invocation::Guest(_));
        let server = match invocation {
            Invocation::Guest(call) => self.guest_policy(call),
            _ => None,
        };
        Question {
            call: id.to_owned(),
            tool: tool.to_owned(),
            subject,
            because,
            cwd,
            access: summary(server.unwrap_or(&self.confinement().policy), writes, programs),
            lasting: offered.and_then(|(permission, shortest)| self.lasting(permission, shortest)),
        }
    }

    /// What can be allowed for longer, and how far. Nothing that holds a secret, which would be kept, or that no record can hold.
    pub(super) fn lasting(&self, permission: Permission, shortest: usize) -> Option<Lasting> {
        let sentence = permission.sentence();
        if self.redact(&sentence) != sentence || serde_json::to_value(&permission).is_err() {
            return None;
        }
        let scopes = self.granted.borrow().scopes(&permission);
        Some(Lasting { permission, shortest, scopes })
    }

    fn parts(&self, judged: &Judged) -> Vec<Part> {
        let part = |command: &crate::approval::JudgedCommand| {
            let simple = &command.simple;
            let assignments = simple.assignments.iter().map(|assignment| format!("{}={}", assignment.name, assignment.value.text));
            let words = simple.words.iter().map(|word| word.text.clone());
            let facts = command.facts.iter().chain(command.levels.iter().flat_map(|level| &level.facts));
            let rule = command.rule.as_ref().map(|rule| {
                let sure = if command.perhaps { "perhaps " } else { "" };
                format!("{sure}rule `{}`: {} ({})", rule.prefix.join(" "), rule.why, rule.origin)
            });
            Part {
                text: self.redact(&assignments.chain(words).collect::<Vec<_>>().join(" ")),
                within: command.within.clone(),
                facts: facts.map(|fact| self.redact(&fact.to_string())).collect(),
                rule,
            }
        };
        judged.commands.iter().map(part).collect()
    }

    /// Puts a question, alone, and records it with its answer. An answer that was not offered is a refusal.
    pub(super) async fn put(&self, question: &Question) -> Result<Answered, GateError> {
        let _alone = self.asking.lock().await;
        self.log.append(Event::Question {
            call: question.call.clone(),
            shown: question.hash(),
            because: question.because.clone(),
            lasting: question.lasting.as_ref().map(|lasting| lasting.permission.clone()),
        })?;
        let began = Instant::now();
        let mut answered = self.asker.ask(question).await;
        if matches!(answered.by, By::Nobody | By::Timeout) {
            self.unasked.set(self.unasked.get() + 1);
        }
        if let Answer::Always { scope, permission } = &answered.answer
            && !offers(question, *scope, permission)
        {
            answered =
                Answered { why: Some("the answer was none of those offered".to_owned()), answer: Answer::Refuse { say: None }, ..answered };
        }
        let (answer, text) = match &answered.answer {
            Answer::Once => ("once", None),
            Answer::Always { .. } => ("always", None),
            Answer::Edit { command } => ("edit", Some(command.clone())),
            Answer::Refuse { say } => ("refuse", say.clone().or_else(|| answered.why.clone())),
            Answer::Stop => ("stop", None),
        };
        self.log.append(Event::Answer {
            call: question.call.clone(),
            answer: answer.to_owned(),
            by: word(answered.by).to_owned(),
            waited_ms: milliseconds(began.elapsed()),
            text: text.map(|text| self.redact(&text)),
        })?;
        Ok(answered)
    }
}

/// Whether a lasting answer is one of those that the question offers.
fn offers(question: &Question, scope: Scope, permission: &Permission) -> bool {
    let Some(lasting) = &question.lasting else { return false };
    let fits = match permission {
        Permission::Words { words } => lasting.with_words(words.len()) == *permission,
        other => lasting.permission == *other,
    };
    fits && lasting.scopes.contains(&scope)
}

/// The reason of a refusal, for the model.
pub(super) fn refused(by: By, say: Option<&str>, why: Option<&str>) -> String {
    match (by, say, why) {
        (By::Person, Some(say), _) => format!("the person said no, and: {say}"),
        (By::Person, None, _) => "the person said no".to_owned(),
        (By::Approver, Some(say), _) => format!("the approver said no, and: {say}"),
        (By::Approver, None, Some(why)) => format!("the approver gave no answer that counts: {why}"),
        (By::Approver, None, None) => "the approver said no".to_owned(),
        (By::Timeout | By::Nobody, _, why) => format!("a person would have to approve this, and {}", why.unwrap_or("nobody answered")),
    }
}
