//! portcullis: a coding agent in which nothing that the model asks for runs in the agent's own process.
//!
//! # Layout
//! Data flows one way, cli → agent → tools' gate → launcher → sandbox, and results come back the same way. A module imports only from
//! those below it.
//!
//! | module | what lives there |
//! |---|---|
//! | [`cli`], [`ui`] | what a person types and sees |
//! | [`agent`] | a session, one turn on one screen, the prefix, events |
//! | [`mcp`] | the Model Context Protocol: the tools for other agents, and below the tools the servers of others as guests of a session |
//! | [`tools`] | each tool's schema, and the gate: classify → decide → ask → record → launch → record → redact |
//! | [`hooks`] | which programs of the person's have a say in a call, what they are told, and how their answers are read: pure data |
//! | [`audit`] | the log |
//! | [`approval`] | what a person has to decide |
//! | [`model`] | the Responses wire, its stream, retries, the scripted model |
//! | [`certificate`] | each statement of a policy tried against the kernel of this machine |
//! | [`selftest`] | published escapes, each as an attempt that runs inside a sandbox and a check outside of it |
//! | [`egress`] | the proxy by which calls reach the hosts that a policy lists, in a process of its own |
//! | [`sandbox`] | plan, launcher, and the ritual that a sandbox goes through; the crate's only `unsafe` |
//! | [`worker`] | the file tools' code, which runs inside a sandbox |
//! | [`policy`] | policy files, the compiled policy, decisions, prose for the prompt: pure data |
//!
//! [`sandbox`] and [`egress`] know each other: the launcher's handle holds the proxy's, and the proxy is a stage that is started and confined as the launcher is.
//!
//! Two functions are the program, each to be read on one screen: [`agent::turn::run`] and [`sandbox::linux::enter::enter`].

pub mod agent;
pub mod approval;
pub mod audit;
#[cfg(target_os = "linux")]
pub mod certificate;
pub mod cli;
pub mod egress;
pub mod hooks;
pub mod mcp;
pub mod model;
pub mod policy;
pub mod sandbox;
#[cfg(target_os = "linux")]
pub mod selftest;
pub mod tools;
pub mod ui;
pub mod worker;
