//! Many confined agents on what people already have: the examples for continuous integration and Kubernetes, as published schemas see them and as
//! they run, against scripted models and a collector.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail as tests do, and have to start the program"
)]

#[path = "fleet/ci.rs"]
mod ci;
#[path = "fleet/collector.rs"]
mod collector;
#[path = "fleet/kubernetes.rs"]
mod kubernetes;
#[path = "fleet/schemas.rs"]
mod schemas;
#[path = "fleet/site.rs"]
mod site;
#[allow(dead_code, reason = "shared with suites that need more of it")]
#[path = "exec/support.rs"]
mod support;
