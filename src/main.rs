//! The `portcullis` program: the launcher's stage or the proxy's if it is asked to be that, else the command line.

use std::process::ExitCode;

use portcullis::cli;

fn main() -> ExitCode {
    // First of all, before any thread or runtime: as a launcher this process must stay small and know nothing.
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use portcullis::{egress, sandbox::stage};
        let mut arguments = std::env::args_os().skip(1);
        let first = arguments.next().unwrap_or_default();
        let mut control = || arguments.next().and_then(|number| number.into_string().ok()).unwrap_or_default();
        let ended = match first.to_str() {
            Some(stage::STAGE) => Some(stage::run(&control())),
            #[cfg(target_os = "macos")]
            Some(stage::WORKER) => Some(stage::work(&control())),
            Some(egress::handle::STAGE) => Some(egress::stage::run(&control())),
            _ => None,
        };
        if let Some(code) = ended {
            return ExitCode::from(u8::try_from(code).unwrap_or(1));
        }
    }
    cli::main()
}
