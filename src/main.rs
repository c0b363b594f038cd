//! The `portcullis` program: the launcher's stage if it is asked to be that, else the command line.

use std::process::ExitCode;

use portcullis::cli;

fn main() -> ExitCode {
    // First of all, before any thread or runtime: as a launcher this process must stay small and know nothing.
    #[cfg(target_os = "linux")]
    {
        let mut arguments = std::env::args_os().skip(1);
        if arguments.next().is_some_and(|first| first == portcullis::sandbox::stage::STAGE) {
            let control = arguments.next().and_then(|number| number.into_string().ok()).unwrap_or_default();
            return ExitCode::from(u8::try_from(portcullis::sandbox::stage::run(&control)).unwrap_or(1));
        }
    }
    cli::main()
}
