//! The conversation, in memory as it is sent and on disk as it can be taken up again. Every item is on disk before it is sent.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    prompt::Prompt,
    rollout::{Rollout, RolloutError},
};
use crate::model::{Conversation, Image, Item, ItemKind, clip};

/// What is said of a call whose outcome was never kept.
const ABORTED: &str = "Aborted: the session ended while this ran. What it had done until then is not known, and not undone.";

/// See the module.
#[derive(Debug)]
pub struct History {
    conversation: Conversation,
    rollout: Rollout,
    /// How many items are the prefix.
    prefix: usize,
    /// What the person said, the last as far as it is kept.
    said: Vec<String>,
}

impl History {
    /// Begins with a conversation that is nowhere kept yet.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn begin(conversation: Conversation, rollout: Rollout) -> Result<Self, RolloutError> {
        let mut history = Self { prefix: conversation.len(), conversation: Conversation::new(), rollout, said: Vec::new() };
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
    pub fn resume(mut conversation: Conversation, prefix: usize, rollout: Rollout) -> Result<Self, RolloutError> {
        let reasons = |item: &RawValue| Kind::of(item).is_some_and(|kind| kind.r#type == "reasoning");
        let places = 0..conversation.len();
        let trailing = places.rev().take_while(|place| conversation.item(*place).is_some_and(reasons)).count();
        conversation.take_back(trailing);
        let (mut said, mut open, mut answered) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (place, item) in conversation.items().enumerate() {
            if place >= prefix {
                said.extend(user_text(item));
            }
            match Kind::of(item) {
                Some(Kind { r#type, call_id: Some(call) }) if r#type == "function_call" => open.push(call.into_owned()),
                Some(Kind { r#type, call_id: Some(call) }) if r#type == "function_call_output" => drop(answered.insert(call.into_owned())),
                _ => {}
            }
        }
        let mut history = Self { conversation, rollout, prefix, said };
        history.rollout.forget(trailing)?;
        for call in open.into_iter().filter(|call| !answered.contains(call)) {
            history.output(&call, ABORTED)?;
        }
        Ok(history)
    }

    /// What the person asks, with the images beside it.
    ///
    /// # Errors
    /// If it cannot be kept; then it is not sent either. So for all that follow.
    pub fn prompt(&mut self, prompt: &Prompt) -> Result<(), RolloutError> {
        let told = prompt.told();
        self.rollout.turn(&prompt.text)?;
        self.said.push(told.clone());
        self.push(|conversation| conversation.push_user_with_images(&told, prompt.images.iter().map(|attached| &attached.image)))
    }

    /// What the harness says.
    ///
    /// # Errors
    /// As for [`Self::prompt`].
    pub fn developer(&mut self, text: &str) -> Result<(), RolloutError> {
        self.push(|conversation| conversation.push_developer(text))
    }

    /// The output of a call.
    ///
    /// # Errors
    /// As for [`Self::prompt`].
    pub fn output(&mut self, call: &str, text: &str) -> Result<(), RolloutError> {
        self.push(|conversation| conversation.push_output(call, text))
    }

    /// The output of a call that may end with an image.
    ///
    /// # Errors
    /// As for [`Self::prompt`].
    pub fn output_with_image(&mut self, call: &str, text: &str, image: Option<&Image>) -> Result<(), RolloutError> {
        match image {
            Some(image) => self.push(|conversation| conversation.push_output_with_image(call, text, image)),
            None => self.output(call, text),
        }
    }

    /// Items exactly as the model sent them, but for [`Item::sendable`].
    ///
    /// # Errors
    /// As for [`Self::prompt`].
    pub fn item(&mut self, item: &Item) -> Result<(), RolloutError> {
        self.push(|conversation| conversation.push_raw(&item.sendable()))
    }

    /// Takes back reasoning at the end of items that have just come and on which nothing follows, because the response broke off: endpoints refuse it.
    ///
    /// # Errors
    /// As for [`Self::prompt`].
    pub fn forget_reasoning(&mut self, items: &[Item]) -> Result<(), RolloutError> {
        let count = items.iter().rev().take_while(|item| matches!(item.kind, ItemKind::Reasoning { .. })).count();
        self.rollout.forget(count)?;
        self.conversation.take_back(count);
        Ok(())
    }

    /// Bytes of the conversation.
    pub fn bytes(&self) -> usize {
        self.conversation.as_bytes().len()
    }

    /// What the person said last, within so many characters, in order. The very last is always there, clipped if need be.
    pub fn said(&self, characters: usize) -> Vec<String> {
        let mut room = characters;
        let mut last: Vec<String> = Vec::new();
        for text in self.said.iter().rev() {
            let length = text.chars().count();
            if length > room {
                if last.is_empty() {
                    last.push(clip(text, characters));
                }
                break;
            }
            room -= length;
            last.push(text.clone());
        }
        last.reverse();
        last
    }

    /// Replaces all but the prefix.
    ///
    /// # Errors
    /// As for [`Self::prompt`].
    pub fn compact(&mut self, by: &Shortened) -> Result<(), RolloutError> {
        let count = self.conversation.len().saturating_sub(self.prefix);
        self.rollout.compact(count)?;
        self.conversation.take_back(count);
        by.said.iter().try_for_each(|text| self.push(|conversation| conversation.push_user(text)))?;
        by.items.iter().try_for_each(|item| self.push(|conversation| conversation.push_raw(item)))?;
        by.words.iter().try_for_each(|words| self.developer(words))?;
        self.developer(&by.ledger)
    }

    /// What is sent.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
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

/// What stands in the place of a conversation that was compacted, in this order.
#[derive(Debug, Clone, Default)]
pub struct Shortened {
    /// What the person said last.
    pub said: Vec<String>,
    /// Items of the endpoint's that stand for the rest.
    pub items: Vec<Box<RawValue>>,
    /// The model's own summary, or that there is none.
    pub words: Option<String>,
    /// What the harness has on record.
    pub ledger: String,
}

/// As much of an item as has to be known of it.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    call_id: Option<Cow<'a, str>>,
}

impl<'a> Kind<'a> {
    fn of(item: &'a RawValue) -> Option<Self> {
        serde_json::from_str(item.get()).ok()
    }
}

/// The text of a message of the person's; images have none.
fn user_text(item: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Message {
        role: String,
        content: Vec<Part>,
    }
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        text: String,
    }
    let message: Message = serde_json::from_str(item.get()).ok()?;
    (message.role == "user").then(|| message.content.into_iter().map(|part| part.text).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::{agent::rollout::Header, model::MediaType, tools::Attachment};

    fn rollout(state: &Path) -> (String, Rollout) {
        let id = uuid::Uuid::now_v7().to_string();
        let header = Header::new(&id, Path::new("/w"), Path::new("/w"), "m", "f".to_owned(), 1);
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
        history.prompt(&Prompt::from("do it")).unwrap();
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
            let resumed = History::resume(read.conversation, read.header.prefix, read.rollout).unwrap();
            let text = String::from_utf8(resumed.conversation.as_bytes().to_vec()).unwrap();
            assert!(text.as_bytes().starts_with(&before));
            assert_eq!(text.matches("Aborted").count(), 1, "{text}");
            assert!(text.contains("\"call_id\":\"two\",\"output\":\"Aborted") && !text.contains("reasoning"), "{text}");
        }
    }

    #[test]
    fn images_are_kept_and_come_back_as_they_were_sent() {
        let state = tempfile::tempdir().unwrap();
        let (id, file) = rollout(state.path());
        let mut history = History::begin(Conversation::new(), file).unwrap();
        let image = |bytes: &[u8]| Image::new(MediaType::Png, bytes);
        let attached = |label: &str| Attachment { label: label.to_owned(), image: image(b"attached") };
        let prompt = Prompt { text: "look at these".to_owned(), images: vec![attached("a.png, 1×1"), attached("b.png, 1×1")] };
        history.prompt(&prompt).unwrap();
        history.output_with_image("call", "c.png, 1×1", Some(&image(b"seen"))).unwrap();
        history.output_with_image("other", "only words", None).unwrap();
        let said = ["look at these\n\n[image 1: a.png, 1×1]\n[image 2: b.png, 1×1]"];
        assert_eq!(history.said(1000), said);
        let bytes = history.conversation.as_bytes().to_vec();
        assert_eq!(String::from_utf8_lossy(&bytes).matches("data:image/png;base64,").count(), 3);
        drop(history);
        let read = Rollout::open(state.path(), Path::new("/w"), &id).unwrap();
        let mut again = History::resume(read.conversation, 0, read.rollout).unwrap();
        assert_eq!(again.conversation.as_bytes(), bytes);
        assert_eq!(again.said(1000), said);
        // What is left after a compaction is the words, the names of the images among them.
        let by = Shortened { said: again.said(1000), ..Shortened::default() };
        again.compact(&by).unwrap();
        let text = String::from_utf8_lossy(again.conversation.as_bytes()).into_owned();
        assert!(text.contains("[image 2: b.png, 1×1]") && !text.contains("data:image"), "{text}");
    }

    #[test]
    fn a_compacted_history_keeps_the_prefix_what_was_said_and_the_summary_and_comes_back_so() {
        let state = tempfile::tempdir().unwrap();
        let (id, file) = rollout(state.path());
        let mut conversation = Conversation::new();
        conversation.push_developer("the sandbox");
        let prefix = conversation.as_bytes().to_vec();
        let mut history = History::begin(conversation, file).unwrap();
        history.prompt(&Prompt::from("long ".repeat(100).as_str())).unwrap();
        history.prompt(&Prompt::from("short")).unwrap();
        history.output("call", "old output").unwrap();
        let said = history.said(50);
        assert_eq!(said, ["short"]);
        let item = raw("{\"type\":\"compaction\",\"id\":\"x\"}");
        let by = Shortened { said, items: vec![item], words: Some("the summary".to_owned()), ledger: "the ledger".to_owned() };
        history.compact(&by).unwrap();
        let bytes = history.conversation.as_bytes().to_vec();
        drop(history);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(bytes.starts_with(&prefix) && text.contains("short") && text.contains("the summary"), "{text}");
        assert!(text.find("\"compaction\"") < text.find("the summary") && text.find("the summary") < text.find("the ledger"), "{text}");
        assert!(!text.contains("old output") && !text.contains("long"), "{text}");
        let read = Rollout::open(state.path(), Path::new("/w"), &id).unwrap();
        let again = History::resume(read.conversation, read.header.prefix, read.rollout).unwrap();
        assert_eq!(again.conversation.as_bytes(), bytes);
        assert_eq!(again.said(50), ["short"]);
    }

    /// What can happen to a conversation, in any order.
    #[derive(Debug, Clone)]
    enum Happens {
        /// The person, or the harness: a changed policy, mode, folder, a server's new tools, an interruption.
        Said(bool, String),
        /// A response of a model: items, how many of its calls ran before it broke off, and whether it did.
        Response(Vec<Answer>, bool),
        /// The session ends, in mid-write or not, and goes on.
        Resumed(usize),
    }

    #[derive(Debug, Clone)]
    enum Answer {
        Message(String),
        Reasoning(String),
        Call(String),
    }

    impl Answer {
        fn item(&self, number: usize) -> Item {
            let value = match self {
                Self::Message(text) => {
                    serde_json::json!({"type": "message", "id": "m", "content": [{"type": "output_text", "text": text}]})
                }
                Self::Reasoning(text) => serde_json::json!({"id": "r", "encrypted_content": text, "type": "reasoning"}),
                Self::Call(text) => {
                    serde_json::json!({"type": "function_call", "call_id": format!("c{number}"), "name": "x", "arguments": text})
                }
            };
            Item::parse(&raw(&serde_json::to_string_pretty(&value).unwrap())).unwrap()
        }
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let text = || "(\\PC|\n|\"|\\\\){0,20}";
        let answer = prop_oneof![
            text().prop_map(Answer::Message),
            text().prop_map(Answer::Reasoning),
            text().prop_map(Answer::Call),
            "\\{\"a\":[0-9]{1,3}\\}".prop_map(Answer::Call),
        ];
        prop_oneof![
            (any::<bool>(), text()).prop_map(|(person, text)| Happens::Said(person, text)),
            (prop::collection::vec(answer, 0..5), any::<bool>()).prop_map(|(items, breaks)| Happens::Response(items, breaks)),
            (0usize..40).prop_map(Happens::Resumed),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever happens, what was sent is the beginning of what is sent next, byte for byte; what is sent is JSON; and no call is left without an output.
        #[test]
        fn what_was_sent_is_only_ever_extended(all in prop::collection::vec(happens(), 1..20)) {
            let state = tempfile::tempdir().unwrap();
            let (id, file) = rollout(state.path());
            let mut conversation = Conversation::new();
            conversation.push_developer("the sandbox");
            let mut history = History::begin(conversation, file).unwrap();
            let mut sent = history.conversation.as_bytes().to_vec();
            for (number, what) in all.into_iter().enumerate() {
                match what {
                    Happens::Said(true, text) => history.prompt(&Prompt::from(text.as_str())).unwrap(),
                    Happens::Said(false, text) => history.developer(&text).unwrap(),
                    Happens::Response(answers, breaks) => {
                        let items: Vec<Item> = answers.iter().enumerate().map(|(place, answer)| answer.item(number * 100 + place)).collect();
                        items.iter().for_each(|item| history.item(item).unwrap());
                        if breaks {
                            history.forget_reasoning(&items).unwrap();
                        }
                        for item in &items {
                            if let ItemKind::FunctionCall { call_id, .. } = &item.kind {
                                history.output(call_id, "out").unwrap();
                            }
                        }
                    }
                    Happens::Resumed(torn) => {
                        drop(history);
                        let path = state.path().join("sessions");
                        let path = std::fs::read_dir(path).unwrap().next().unwrap().unwrap().path().join(format!("{id}.jsonl"));
                        // A line that was being written when it died.
                        let mut bytes = std::fs::read(&path).unwrap();
                        bytes.extend_from_slice(&b"{\"item\":{\"type\":\"message\",\"role\":\"user\"}}"[..torn]);
                        std::fs::write(&path, bytes).unwrap();
                        let read = Rollout::open(state.path(), Path::new("/w"), &id).unwrap();
                        history = History::resume(read.conversation, read.header.prefix, read.rollout).unwrap();
                    }
                }
                // Only what is sent has to stay; reasoning on which nothing follows may go until then.
                if history.conversation.items().last().is_some_and(|item| Kind::of(item).is_some_and(|kind| kind.r#type == "reasoning")) {
                    continue;
                }
                let now = history.conversation.as_bytes().to_vec();
                prop_assert!(now.starts_with(&sent), "{}\n{}", String::from_utf8_lossy(&sent), String::from_utf8_lossy(&now));
                let items: Vec<serde_json::Value> = serde_json::from_str(&format!("[{}]", String::from_utf8(now.clone()).unwrap())).unwrap();
                let ids = |kind: &str| -> Vec<String> {
                    items.iter().filter(|item| item["type"] == kind).map(|item| item["call_id"].as_str().unwrap().to_owned()).collect()
                };
                let (mut calls, mut outputs) = (ids("function_call"), ids("function_call_output"));
                calls.sort();
                outputs.sort();
                prop_assert_eq!(calls, outputs);
                for item in items.iter().filter(|item| item["type"] == "function_call") {
                    let arguments: serde_json::Value = serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap();
                    prop_assert!(arguments.is_object());
                }
                sent = now;
            }
        }
    }
}
