//! Puts questions to the person at the terminal.

use std::{
    fmt::Debug,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::{
    question_view::{QuestionView, said},
    style::Paint,
    view::show,
};
use crate::approval::{Answered, Asker, By, Question};

/// What else is on the screen.
pub trait Curtain: Debug {
    /// It makes way for a question.
    fn fall(&self);

    /// It comes back, with a line about what was answered.
    fn rise(&self, said: &str);
}

/// See the module.
#[derive(Debug)]
pub struct TerminalAsker {
    paint: Paint,
    curtain: Rc<dyn Curtain>,
}

impl TerminalAsker {
    /// On the terminal of this process.
    pub fn new(paint: Paint, curtain: Rc<dyn Curtain>) -> Self {
        Self { paint, curtain }
    }
}

/// A view that is up, on a thread of its own. Dropping it takes it down, and waits until the terminal is given back.
struct Up<'a> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    curtain: &'a dyn Curtain,
    said: String,
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it was already reported by it.
            let _ = thread.join();
        }
        self.curtain.rise(&self.said);
    }
}

impl Asker for TerminalAsker {
    fn ask<'a>(&'a self, question: &'a Question) -> Pin<Box<dyn Future<Output = Answered> + 'a>> {
        Box::pin(async move {
            self.curtain.fall();
            let stop = Arc::new(AtomicBool::new(false));
            let mut up =
                Up { stop: Arc::clone(&stop), thread: None, curtain: &*self.curtain, said: "the question was taken back".to_owned() };
            let mut view = QuestionView::new(question, self.paint);
            let (sender, receiver) = oneshot::channel();
            let started = thread::Builder::new().name("question".to_owned()).spawn(move || {
                let _ = sender.send(show(&mut view, &stop));
            });
            let shown = match started {
                Ok(thread) => {
                    up.thread = Some(thread);
                    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the question could not be shown")))
                }
                Err(error) => Err(error),
            };
            match shown {
                Ok(Some(answer)) => {
                    up.said = said(&answer);
                    Answered::person(answer)
                }
                Ok(None) => Answered::nobody(By::Nobody, "the question was taken back"),
                Err(error) => {
                    up.said = format!("nobody could be asked: {error}");
                    Answered::nobody(By::Nobody, format!("the terminal cannot be used: {error}"))
                }
            }
        })
    }
}
