//! The way out: a proxy, in a process of its own, for calls whose policy lists hosts.
//!
//! A call with `mode = "allowlist"` has an empty network namespace with a loopback. The sandbox's init makes one listening socket in it and hands that
//! out by descriptor; the agent passes it on to the proxy, which accepts what the call connects to it. There is no bridge process, no route and no
//! resolver inside: what does not speak to the proxy reaches nothing.
//!
//! The proxy speaks HTTP (plain requests and `CONNECT`) and SOCKS5 on that one socket. It judges each request or tunnel by the name that the client
//! gives ([`crate::policy::host`]), looks the name up only then, judges every address that it leads to, and connects to an address that was judged. It has
//! neither the model's key nor the agent's environment, starts nothing, and sees no files but those of the resolver (`confine`).

#[cfg(target_os = "linux")]
mod confine;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod dial;
pub mod handle;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod http;
pub mod message;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod meter;
pub(crate) mod proxied;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod serve;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod socks;
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub mod stage;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod tunnel;

pub use handle::{Connections, Egress};
pub use message::{Connection, Ending, Protocol};

/// Where calls find the proxy: a port of their own loopback. Squid's, which people know.
pub const PORT: u16 = 3128;
