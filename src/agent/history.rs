//! The conversation, in memory as it is sent and on disk as it can be taken up again. Every item is on disk before it is sent.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::rollout::{Rollout, RolloutError};
use crate::model::{Conversation, EncodedHead, Item, ItemKind};

/// What is said of a call whose outcome was never kept.
const ABORTED: &str = "Aborted: the session ended while this ran. What it had done until then is not known, and not undone.";

/// See the module.
#[derive(Debug)]
pub struct History {
    conversation: Conversation,
    rollout: Rollout,
}

impl History {
    /// Begins with a conversation that is nowhere kept yet.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn begin(conversation: Conversation, rollout: Rollout) -> Result<Self, RolloutError> {
        let mut history = Self { conversation: Conversation::new(), rollout };
        for item in conversation.items() {
            history.rollout.item(item)?;
        }
        history.conversation = conversation;
        Ok(history)
    }

    /// Goes on with what was kept. Calls without an output get one that says so; reasoning on which nothing follows is left out.
    ///
    /// # Errors
    /// If that cannot be kept.
    pub fn resume(mut items: Vec<Box<RawValue>>, rollout: Rollout) -> Result<Self, RolloutError> {
        let mut history = Self { conversation: Conversation::new(), rollout };
        let reasons = |item: &RawValue| Kind::of(item).is_some_and(|kind| kind.r#type == "reasoning");
        let kept = items.iter().rposition(|item| !reasons(item)).map_or(0, |last| last + 1);
        history.rollout.forget(items.len() - kept)?;
        items.truncate(kept);
        let mut open: Vec<String> = Vec::new();
        let mut answered = BTreeSet::new();
        for item in &items {
            history.conversation.push_raw(item);
            match Kind::of(item) {
                Some(Kind { r#type, call_id: Some(call) }) if r#type == "function_call" => open.push(call),
                Some(Kind { r#type, call_id: Some(call) }) if r#type == "function_call_output" => drop(answered.insert(call)),
                _ => {}
            }
        }
        for call in open.into_iter().filter(|call| !answered.contains(call)) {
            history.output(&call, ABORTED)?;
        }
        Ok(history)
    }

    /// What the person says.
    ///
    /// # Errors
    /// If it cannot be kept; then it is not sent either. So for all that follow.
    pub fn user(&mut self, text: &str) -> Result<(), RolloutError> {
        self.rollout.turn(text)?;
        self.push(|conversation| conversation.push_user(text))
    }

    /// What the harness says.
    ///
    /// # Errors
    /// As for [`Self::user`].
    pub fn developer(&mut self, text: &str) -> Result<(), RolloutError> {
        self.push(|conversation| conversation.push_developer(text))
    }

    /// The output of a call.
    ///
    /// # Errors
    /// As for [`Self::user`].
    pub fn output(&mut self, call: &str, text: &str) -> Result<(), RolloutError> {
        self.push(|conversation| conversation.push_output(call, text))
    }

    /// Items exactly as the model sent them.
    ///
    /// # Errors
    /// As for [`Self::user`].
    pub fn item(&mut self, item: &Item) -> Result<(), RolloutError> {
        self.push(|conversation| conversation.push_raw(&item.raw))
    }

    /// Takes back reasoning at the end of items that have just come and on which nothing follows, because the response broke off: endpoints refuse it.
    ///
    /// # Errors
    /// As for [`Self::user`].
    pub fn forget_reasoning(&mut self, items: &[Item]) -> Result<(), RolloutError> {
        let count = items.iter().rev().take_while(|item| matches!(item.kind, ItemKind::Reasoning { .. })).count();
        self.rollout.forget(count)?;
        self.conversation.take_back(count);
        Ok(())
    }

    /// The body of the next request.
    pub fn body(&self, head: &EncodedHead) -> bytes::Bytes {
        self.conversation.body(head)
    }

    fn push(&mut self, push: impl FnOnce(&mut Conversation)) -> Result<(), RolloutError> {
        push(&mut self.conversation);
        let Some(item) = self.conversation.last() else { return Ok(()) };
        let kept = self.rollout.item(item);
        if kept.is_err() {
            self.conversation.take_back(1);
        }
        kept
    }
}

/// As much of an item as has to be known of it.
#[derive(Deserialize)]
struct Kind {
    r#type: String,
    call_id: Option<String>,
}

impl Kind {
    fn of(item: &RawValue) -> Option<Self> {
        serde_json::from_str(item.get()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::agent::rollout::Header;

    fn rollout(state: &Path) -> (String, Rollout) {
        let id = uuid::Uuid::now_v7().to_string();
        let header = Header::new(&id, Path::new("/w"), Path::new("/w"), "m", "f".to_owned());
        (id, Rollout::create(state, &header).unwrap())
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_is_resumed_extends_what_was_and_open_calls_are_aborted() {
        let state = tempfile::tempdir().unwrap();
        let (id, file) = rollout(state.path());
        let mut conversation = Conversation::new();
        conversation.push_developer("the sandbox");
        let mut history = History::begin(conversation, file).unwrap();
        history.user("do it").unwrap();
        let before = history.conversation.as_bytes().to_vec();
        let call =
            |id: &str| raw(&format!("{{\"type\":\"function_call\", \"call_id\":\"{id}\",\"name\":\"shell\",\"arguments\":\"{{}}\"}}"));
        for item in [call("one"), call("two")] {
            history.rollout.item(&item).unwrap();
        }
        history.rollout.item(&raw("{\"type\":\"function_call_output\",\"call_id\":\"one\",\"output\":\"x\"}")).unwrap();
        history.rollout.item(&raw("{\"type\":\"reasoning\",\"id\":\"r\"}")).unwrap();
        drop(history);
        for _ in 0..2 {
            let read = Rollout::open(state.path(), Path::new("/w"), &id).unwrap();
            let resumed = History::resume(read.items, read.rollout).unwrap();
            let text = String::from_utf8(resumed.conversation.as_bytes().to_vec()).unwrap();
            assert!(text.as_bytes().starts_with(&before));
            assert_eq!(text.matches("Aborted").count(), 1, "{text}");
            assert!(text.contains("\"call_id\":\"two\",\"output\":\"Aborted") && !text.contains("reasoning"), "{text}");
        }
    }
}
