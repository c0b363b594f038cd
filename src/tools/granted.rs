//! What a person has allowed for longer than one call, as far as it holds in this session.

use std::{
    collections::BTreeSet,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    access::examine,
    confinement::{self, Confinement, ConfinementError},
    gate::{Gate, GateError},
};
use crate::{
    approval::{Grant, Permission, Repository, Scope, Store},
    audit::Event,
    policy::{CommandRule, Decision, GRANTED, Origin, Wider},
    sandbox::{LaunchError, Session},
};

/// What was granted.
#[derive(Debug)]
pub(super) struct Granted {
    store: Option<Store>,
    repository: Repository,
    /// Those that hold, in the order in which they were given.
    grants: Vec<Grant>,
    /// For the next call alone.
    once: Vec<Wider>,
    /// Access that a person did not want to grant, so that they are not asked again.
    declined: BTreeSet<Wider>,
}

impl Granted {
    /// Nothing, and nowhere to keep anything.
    pub(super) fn none(session: &Session) -> Self {
        let nowhere = Repository { path: session.workspace.clone(), device: 0, inode: 0, born: None };
        let repository = Repository::of(&session.workspace).unwrap_or(nowhere);
        Self { store: None, repository, grants: Vec::new(), once: Vec::new(), declined: BTreeSet::new() }
    }

    /// What is granted as rules over commands.
    pub(super) fn rules(&self) -> Vec<CommandRule> {
        let rule = |(grant, line): (&Grant, u32)| match &grant.permission {
            Permission::Words { words } => Some(CommandRule {
                prefix: words.clone(),
                decision: Decision::Allow,
                why: format!("allowed {}", grant.scope.words()),
                examples_match: Vec::new(),
                examples_not_match: Vec::new(),
                origin: Origin { file: format!("{GRANTED} {}", grant.id), line, group: None },
            }),
            _ => None,
        };
        self.grants.iter().zip(1..).filter_map(rule).collect()
    }

    /// The grant that gives just this permission.
    pub(super) fn of(&self, permission: &Permission) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.permission == *permission)
    }

    /// All wider access that lasts longer than one call.
    fn wider(&self) -> Vec<Wider> {
        let lasting = self.grants.iter().filter_map(|grant| match &grant.permission {
            Permission::Wider(wider) => Some(wider.clone()),
            _ => None,
        });
        lasting.collect()
    }

    /// Whether a person has said no to this before.
    pub(super) fn is_declined(&self, wider: &Wider) -> bool {
        self.declined.contains(wider)
    }

    pub(super) fn decline(&mut self, wider: Wider) {
        self.declined.insert(wider);
    }

    pub(super) fn once(&mut self, wider: Wider) {
        self.once.push(wider);
    }

    /// The scopes that a permission can be given. One for a whole kind of call lasts no longer than the session.
    pub(super) fn scopes(&self, permission: &Permission) -> Vec<Scope> {
        match permission {
            Permission::Reading | Permission::Patching | Permission::ServerTool { .. } => vec![Scope::Session],
            _ if self.store.is_none() => vec![Scope::Session],
            // A text means what it means in one folder.
            Permission::Exactly { .. } => vec![Scope::Session, Scope::Repository],
            Permission::Words { .. } | Permission::Wider(_) => vec![Scope::Session, Scope::Repository, Scope::User],
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}

impl Gate {
    /// Takes over what was granted in earlier sessions and holds here, and keeps what is granted in this one in the same store. What was taken over is
    /// recorded by [`Self::record_beginning`].
    ///
    /// # Errors
    /// If the grants cannot be read, or what they give cannot be put in force.
    pub fn with_grants(self, store: Store) -> Result<Self, GateError> {
        let fingerprint = self.policy.fingerprint();
        let now = now();
        let saved = store.load()?;
        {
            let mut granted = self.granted.borrow_mut();
            let repository = granted.repository.clone();
            granted.grants = saved.into_iter().filter(|grant| grant.holds(&repository, &fingerprint, now).is_ok()).collect();
            granted.store = Some(store);
            // What is not there any more, or is denied by now, is passed over; the list says so.
            granted.grants.retain(|grant| match &grant.permission {
                Permission::Wider(wider) => examine(wider, &self.policy, &self.session).is_ok_and(|found| found.wider == *wider),
                _ => true,
            });
        }
        let wider = self.granted.borrow().wider();
        if !wider.is_empty() {
            self.confine(self.registered(&wider)?);
        }
        self.renew_rules();
        Ok(self)
    }

    /// Writes to the log, behind the start of the session, with what it begins: the mode, if the policy says another, and what was granted before.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn record_beginning(&self) -> Result<(), GateError> {
        let mode = self.ask_mode();
        if mode != self.policy.ask {
            self.log.append(Event::AskMode { mode })?;
        }
        for grant in self.grants() {
            self.log.append(Event::Granted { grant: grant.id, permission: grant.permission, scope: grant.scope })?;
        }
        let wider = self.granted.borrow().wider();
        if !wider.is_empty() {
            self.log.append(Event::InForce { fingerprint: self.confinement().policy.fingerprint(), wider })?;
        }
        for (server, guest) in self.guests.servers() {
            self.log.append(Event::Server {
                server: server.clone(),
                approved: guest.approved.hash(),
                policy: guest.policy.name.clone(),
                fingerprint: guest.policy.fingerprint(),
            })?;
        }
        Ok(())
    }

    /// What is granted and holds, in the order in which it was given.
    pub fn grants(&self) -> Vec<Grant> {
        self.granted.borrow().grants.clone()
    }

    /// Takes a grant back, from the store too. Says whether there was one.
    ///
    /// # Errors
    /// If that cannot be recorded or kept.
    pub fn revoke(&self, id: &str) -> Result<bool, GateError> {
        let found = self.granted.borrow().grants.iter().find(|grant| grant.id == id).cloned();
        let Some(grant) = found else { return Ok(false) };
        self.log.append(Event::Revoked { grant: id.to_owned() })?;
        let store = self.granted.borrow().store.clone();
        if let (Some(store), true) = (store, grant.scope != Scope::Session) {
            store.remove(|kept| kept.id == id)?;
        }
        self.granted.borrow_mut().grants.retain(|kept| kept.id != id);
        self.renew()?;
        self.note(format!("The person took back what they had allowed: {}.", grant.permission.sentence()));
        Ok(true)
    }

    /// Remembers a permission: recorded, kept if it reaches beyond the session, then in force.
    pub(super) fn grant(&self, permission: Permission, scope: Scope) -> Result<Grant, GateError> {
        let grant = {
            let granted = self.granted.borrow();
            let policy = (self.policy.name.as_str(), self.policy.fingerprint());
            Grant::new(permission, scope, granted.repository.clone(), (policy.0, &policy.1), now())
        };
        self.log.append(Event::Granted { grant: grant.id.clone(), permission: grant.permission.clone(), scope })?;
        let store = self.granted.borrow().store.clone();
        if let (Some(store), true) = (store, scope != Scope::Session) {
            store.add(&grant)?;
        }
        self.granted.borrow_mut().grants.push(grant.clone());
        self.renew()?;
        Ok(grant)
    }

    /// The confinement of the next program or file tool: what is in force, and what was granted for one call.
    pub(super) fn confinement_of_call(&self) -> Result<Rc<Confinement>, GateError> {
        if self.granted.borrow().once.is_empty() {
            return Ok(self.confinement());
        }
        let mut wider = self.granted.borrow().wider();
        wider.append(&mut self.granted.borrow_mut().once);
        self.widened(&wider)
    }

    /// What is in force, and more besides, for one call.
    pub(super) fn confinement_with(&self, more: &[Wider]) -> Result<Rc<Confinement>, GateError> {
        let mut wider = self.granted.borrow().wider();
        wider.extend_from_slice(more);
        self.widened(&wider)
    }

    fn widened(&self, wider: &[Wider]) -> Result<Rc<Confinement>, GateError> {
        let confinement = self.registered(wider)?;
        self.log.append(Event::InForce { fingerprint: confinement.policy.fingerprint(), wider: wider.to_vec() })?;
        Ok(confinement)
    }

    fn registered(&self, wider: &[Wider]) -> Result<Rc<Confinement>, GateError> {
        Confinement::widened(&self.launcher, &self.policy, wider, &self.session).map_err(|error| match error {
            ConfinementError::Launch(error) => GateError::Launch(error),
            // It was tried before it was granted, so something outside has changed since.
            ConfinementError::Plan(error) => GateError::Launch(LaunchError::Refused {
                step: "put in force what was granted".to_owned(),
                reason: error.to_string(),
                errno: None,
            }),
        })
    }

    /// Puts in force what is granted now.
    fn renew(&self) -> Result<(), GateError> {
        let wider = self.granted.borrow().wider();
        let changed = confinement::widened(&self.policy, &wider) != self.confinement().policy;
        if changed {
            self.confine(self.widened(&wider)?);
        }
        self.renew_rules();
        Ok(())
    }
}
