//! Signals that are passed on and not obeyed, as a descriptor that becomes readable.

use std::os::fd::{AsFd, BorrowedFd};

use nix::{
    errno::Errno,
    sys::signal::{SigSet, Signal},
};

/// Signals that are blocked, and kept for whoever asks. To be made before there is a second thread.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct Signals(nix::sys::signalfd::SignalFd);

#[cfg(target_os = "linux")]
impl Signals {
    pub(super) fn watch(signals: &[Signal]) -> Result<Self, Errno> {
        use nix::sys::signalfd::{SfdFlags, SignalFd};
        let mask = blocked(signals)?;
        SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }

    /// The next that came, if one did.
    pub(super) fn next(&self) -> Option<Signal> {
        let told = self.0.read_signal().ok().flatten()?;
        i32::try_from(told.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }
}

#[cfg(target_os = "linux")]
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The same where there is no descriptor for them: a thread waits, and passes on their numbers through a pipe.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) struct Signals(std::io::PipeReader);

#[cfg(not(target_os = "linux"))]
impl Signals {
    pub(super) fn watch(signals: &[Signal]) -> Result<Self, Errno> {
        use std::io::Write;

        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let mask = blocked(signals)?;
        let (reader, mut writer) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        std::thread::spawn(move || {
            while let Ok(signal) = mask.wait() {
                if writer.write_all(&[u8::try_from(signal as i32).unwrap_or(0)]).is_err() {
                    return;
                }
            }
        });
        Ok(Self(reader))
    }

    pub(super) fn next(&self) -> Option<Signal> {
        let mut number = [0];
        let read = nix::unistd::read(&self.0, &mut number).ok()?;
        (read == 1).then(|| Signal::try_from(i32::from(number[0])).ok()).flatten()
    }
}

#[cfg(not(target_os = "linux"))]
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn blocked(signals: &[Signal]) -> Result<SigSet, Errno> {
    let mut mask = SigSet::empty();
    signals.iter().for_each(|signal| mask.add(*signal));
    mask.thread_block()?;
    Ok(mask)
}
