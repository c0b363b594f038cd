//! What crosses the boundary: hostile bytes end in an error, never in a panic or a guess.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of the functions that clippy takes for tests")]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send as send_bytes, socketpair};
use portcullis::sandbox::{
    FromSandbox, Launch, Program, ToSandbox,
    message::{MESSAGE_CAP, MessageError, ToLauncher, receive, send},
};
use proptest::prelude::*;

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

fn launch(argument: String) -> ToLauncher {
    ToLauncher::Launch(Launch {
        plan: 3,
        program: Program::Exec(vec![argument]),
        environment: vec![("A".to_owned(), "b\nc".to_owned())],
        cwd: "/x".into(),
        wall_ms: None,
        terminal: None,
        terminal_streams: [false; 3],
    })
}

#[test]
fn a_message_arrives_whole_with_its_descriptors_which_close_on_exec() {
    let (one, other) = pair();
    let (reader, writer) = std::io::pipe().unwrap();
    send(one.as_fd(), &launch("héllo".to_owned()), &[reader.as_fd(), writer.as_fd()]).unwrap();
    let (message, descriptors) = receive::<ToLauncher>(other.as_fd()).unwrap();
    let ToLauncher::Launch(launch) = message else { panic!("another message") };
    assert_eq!(launch.program, Program::Exec(vec!["héllo".to_owned()]));
    assert_eq!(descriptors.len(), 2);
    for descriptor in &descriptors {
        let flags = nix::fcntl::fcntl(descriptor, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert!(nix::fcntl::FdFlag::from_bits_truncate(flags).contains(nix::fcntl::FdFlag::FD_CLOEXEC));
    }
}

#[test]
fn a_message_over_the_cap_is_not_sent_and_one_of_somebody_elses_not_taken() {
    let (one, other) = pair();
    assert!(matches!(send(one.as_fd(), &launch("a".repeat(MESSAGE_CAP)), &[]), Err(MessageError::TooLong { .. })));
    send_bytes(one.as_raw_fd(), &vec![b' '; MESSAGE_CAP + 1], MsgFlags::empty()).unwrap();
    assert!(matches!(receive::<ToLauncher>(other.as_fd()), Err(MessageError::TooLong { .. })));
}

#[test]
fn too_many_descriptors_are_an_error_and_none_of_them_stays_open() {
    let (one, other) = pair();
    let files: Vec<_> = (0..9).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    send(one.as_fd(), &ToSandbox::Signal(1), &descriptors).unwrap();
    assert!(receive::<ToSandbox>(other.as_fd()).is_err());
    // Other tests open and close descriptors meanwhile; what was received here would be four or more for good.
    let after = (0..50).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(2));
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    });
    assert!(after.min().unwrap() < before + 4);
}

#[test]
fn the_end_of_the_other_side_is_told_apart_from_rubbish() {
    let (one, other) = pair();
    drop(one);
    assert!(matches!(receive::<FromSandbox>(other.as_fd()), Err(MessageError::Closed)));
    assert!(matches!(send(other.as_fd(), &ToSandbox::Signal(1), &[]), Err(MessageError::Closed)));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 1..2000)) {
        let (one, other) = pair();
        for _ in 0..3 {
            send_bytes(one.as_raw_fd(), &bytes, MsgFlags::empty()).unwrap();
        }
        let _ = receive::<ToLauncher>(other.as_fd()).is_ok();
        let _ = receive::<FromSandbox>(other.as_fd()).is_ok();
        let _ = receive::<ToSandbox>(other.as_fd()).is_ok();
    }

    #[test]
    fn a_message_cut_or_changed_anywhere_is_the_same_message_or_an_error(place in 0usize..400, byte in any::<u8>(), cut in any::<bool>()) {
        let (one, other) = pair();
        let mut bytes = serde_json::to_vec(&launch("echo hello".to_owned())).unwrap();
        let place = place % bytes.len();
        if cut { bytes.truncate(place.max(1)) } else { bytes[place] = byte }
        send_bytes(one.as_raw_fd(), &bytes, MsgFlags::empty()).unwrap();
        match receive::<ToLauncher>(other.as_fd()) {
            Ok((ToLauncher::Launch(_), _)) => prop_assert!(!cut),
            Ok((ToLauncher::Register { .. }, _)) => prop_assert!(false, "another kind of message"),
            Err(error) => prop_assert!(matches!(error, MessageError::Malformed(_)), "{error}"),
        }
    }
}
