//! stub
use std::{future::Future, io, pin::Pin, rc::Rc};
use super::style::Paint;
use crate::approval::{Answered, Asker, By, Question, question::Line};
pub trait Curtain: std::fmt::Debug { fn fall(&self); fn rise(&self, said: &str); }
#[derive(Debug)]
pub struct TerminalAsker(Rc<dyn Curtain>);
impl TerminalAsker { pub fn new(_: Paint, c: Rc<dyn Curtain>) -> Self { Self(c) } }
impl Asker for TerminalAsker {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answered> + 'a>> { Box::pin(std::future::ready(Answered::nobody(By::Nobody, "stub"))) }
}
pub fn choose(_: &str, _: &[Line], _: &[(char, &str)], _: &[char]) -> io::Result<Option<char>> { Ok(Some('y')) }
