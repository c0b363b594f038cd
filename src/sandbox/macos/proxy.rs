//! The profile that confines the proxy itself: the network, the resolver, and nothing of the person's. It reads hostile bytes all day.

use std::path::Path;

use super::{
    profile::{Profile, READ},
    refusal::Refusal,
    services::{LOADER, NETWORK_SERVICES, SERVICES, VALUES},
};

/// The profile of the proxy, which is this program. It runs nothing, and nothing is written.
///
/// # Errors
/// Where the program's path is not UTF-8.
pub fn profile(program: &Path) -> Result<Profile, Refusal> {
    let program = program.to_str().ok_or_else(|| Refusal::NotText { path: program.to_path_buf() })?;
    let list =
        |filter: &str, names: &mut dyn Iterator<Item = &str>| names.map(|name| format!("  ({filter} \"{name}\")\n")).collect::<String>();
    let services = list("global-name", &mut SERVICES.iter().chain(&NETWORK_SERVICES).map(|need| need.name));
    let values = list("sysctl-name", &mut VALUES.iter().map(|need| need.name));
    let loader = list("subpath", &mut LOADER.iter().map(|need| need.name));
    let text = format!(
        "(version 1)\n(deny default)\n\n; Itself, and the system's libraries\n\
         (allow process-exec* {READ} (literal (param \"PROGRAM\")))\n\
         (allow file-read-metadata file-test-existence (path-ancestors (param \"PROGRAM\")))\n\
         (allow file-read-metadata file-test-existence (literal \"/etc\") (literal \"/var\"))\n\
         (allow file-read* file-test-existence (literal \"/\"))\n\
         (allow {READ}\n{loader})\n\
         (allow sysctl-read\n  (sysctl-name-prefix \"hw.\")\n{values})\n\
         (allow file-read* file-test-existence file-write-data (literal \"/dev/null\"))\n\
         (allow file-read* file-test-existence (literal \"/dev/random\") (literal \"/dev/urandom\"))\n\n\
         ; Names, and connections to what they lead to\n\
         (allow mach-lookup\n{services})\n\
         (allow file-read* file-test-existence (literal \"/private/etc/hosts\") (literal \"/private/etc/resolv.conf\") \
         (literal \"/private/var/run/resolv.conf\") (literal \"/private/etc/services\"))\n\
         (allow network-outbound (literal \"/private/var/run/mDNSResponder\"))\n\
         (allow system-socket)\n\
         (allow network-outbound (remote ip \"*:*\"))\n\
         (allow network-inbound (local ip \"localhost:*\"))\n"
    );
    Ok(Profile { text, parameters: vec![("PROGRAM".to_owned(), program.to_owned())] })
}
