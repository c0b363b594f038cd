//! What a call is confined to: the policy with what a person has granted besides, and all that follows from it.

use std::rc::Rc;

use super::denial::Explainer;
use crate::{
    policy::{GRANTED, Origin, Policy, Wider},
    sandbox::message::Expected,
    sandbox::{LaunchError, Launcher, Plan, PlanError, Session},
};

/// A policy that is registered with the launcher.
#[derive(Debug)]
pub(super) struct Confinement {
    /// The policy, with what was granted.
    pub(super) policy: Policy,
    /// For programs and patches.
    pub(super) plan: u32,
    /// For the tools that only read.
    pub(super) read_only: u32,
    /// For programs in the background, which have no limit on time.
    pub(super) lasting: u32,
    /// The environment of programs.
    pub(super) environment: Vec<(String, String)>,
    /// Explains refusals under this policy.
    pub(super) explainer: Explainer,
}

/// Why a policy cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfinementError {
    /// No plan can be made of it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The launcher does not take it.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

impl Confinement {
    /// Registers a policy and a plan that was made of it.
    pub(super) fn register(launcher: &Launcher, policy: Policy, plan: &Plan, session: &Session) -> Result<Rc<Self>, LaunchError> {
        Ok(Rc::new(Self {
            plan: launcher.register_for(plan.clone(), Expected::Programs)?,
            read_only: launcher.register_for(plan.read_only(), Expected::FileTools)?,
            lasting: launcher.register(plan.without_clock())?,
            environment: plan.environment(&policy, session),
            explainer: Explainer::new(&policy, session),
            policy,
        }))
    }

    /// The `PATH` of programs.
    pub(super) fn path(&self) -> &str {
        self.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Registers a policy with wider access.
    pub(super) fn widened(launcher: &Launcher, policy: &Policy, wider: &[Wider], session: &Session) -> Result<Rc<Self>, ConfinementError> {
        let policy = widened(policy, wider);
        let plan = Plan::new(&policy, session)?;
        Ok(Self::register(launcher, policy, &plan, session)?)
    }
}

/// A policy with wider access, in an order that does not depend on when it was granted.
pub(super) fn widened(policy: &Policy, wider: &[Wider]) -> Policy {
    let mut wider: Vec<&Wider> = wider.iter().collect();
    wider.sort();
    wider.dedup();
    wider.into_iter().zip(1..).fold(policy.clone(), |policy, (wider, line)| {
        let origin = Origin { file: GRANTED.to_owned(), line, group: None };
        match wider {
            Wider::Read(path) => policy.with_path(path, false, origin),
            Wider::Write(path) => policy.with_path(path, true, origin),
            Wider::Host(host) => policy.with_host(host, origin),
            Wider::Socket(path) => policy.with_socket(path, origin),
        }
    })
}
