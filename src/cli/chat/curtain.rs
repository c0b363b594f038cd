//! The session's screen makes way for a question, and comes back.

use super::talk::Screen;
use crate::ui::{asker::Curtain, style::Tone};

/// See the module. That something cannot be shown is found where it is shown.
#[derive(Debug)]
pub(super) struct ScreenCurtain(pub(super) Screen);

impl Curtain for ScreenCurtain {
    fn fall(&self) {
        let _ = self.0.borrow_mut().hold();
    }

    fn rise(&self, said: &str) {
        let mut screen = self.0.borrow_mut();
        let _ = screen.release();
        let _ = screen.say(Tone::Caution, &format!("  {said}"));
    }
}
