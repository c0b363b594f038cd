//! The profile of the proxy itself.

use std::path::Path;

use portcullis::sandbox::macos::{proxy::profile, refusal::Refusal};

use crate::{evaluator::About, world::Asked};

#[test]
fn the_proxy_reaches_the_network_and_nothing_of_the_persons() {
    let asked = Asked::of(&profile(Path::new("/Users/me/bin/portcullis")).unwrap());
    assert!(asked.asks("network-outbound", About::Address { loopback: false, port: 443 }));
    assert!(asked.asks("network-inbound", About::Address { loopback: true, port: 50_000 }));
    assert!(!asked.asks("network-inbound", About::Address { loopback: false, port: 50_000 }), "nobody from elsewhere is served");
    assert!(asked.asks("network-outbound", About::Socket(Path::new("/private/var/run/mDNSResponder"))));
    assert!(!asked.asks("network-outbound", About::Socket(Path::new("/private/var/run/docker.sock"))));
    assert!(asked.runs("/Users/me/bin/portcullis") && asked.reads("/usr/lib/libSystem.B.dylib") && asked.reads("/private/etc/hosts"));
    for path in ["/bin/sh", "/usr/bin/curl", "/Users/me/bin/other"] {
        assert!(!asked.runs(path), "{path}");
    }
    for path in ["/Users/me/.ssh/id_ed25519", "/Users/me/project/x", "/private/tmp/x", "/private/etc/passwd"] {
        assert!(!asked.reads(path) && !asked.makes(path), "{path}");
    }
    assert!(
        !asked.makes("/Users/me/bin/portcullis")
            && !asked.asks("signal", About::Process(false))
            && !asked.asks("process-fork", About::Process(true))
    );
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let odd = Path::new(std::ffi::OsStr::from_bytes(b"/\xff"));
    assert_eq!(profile(odd), Err(Refusal::NotText { path: odd.to_path_buf() }));
}
