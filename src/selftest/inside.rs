//! The probe: the code that makes one attempt inside a sandbox.

use super::{case::How, cases, facts::Request, tries::Tries};

/// Makes the attempt of one case and reports on standard output. To be called when the process is confined, and has one thread.
pub fn serve(request: &Request) {
    let mut tries = Tries::default();
    if let Some(case) = cases::all().into_iter().find(|case| case.id == request.case)
        && let How::Inside(attempt) | How::Scene(_, attempt) = case.how
    {
        attempt(&request.facts, &mut tries);
    }
    tries.end();
}
