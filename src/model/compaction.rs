//! The endpoint's own compaction: `POST {base_url}/responses/compact` takes a conversation and gives back what stands in its place, opaque and encrypted, with
//! nothing stored (<https://platform.openai.com/docs/api-reference/responses/compact>).

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{Client, Conversation, EncodedHead, Item, ModelError, Usage, client::Failure, item::UsageShape};

/// Longest time that an answer may take; a summary of a full window takes long.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest answer in bytes.
const CAP: usize = 32 << 20;

/// By what means a conversation is made shorter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A request for a summary behind the whole conversation, with the same tools, so that it is a cache hit. Works with every endpoint.
    #[default]
    Summary,
    /// The endpoint's call `/responses/compact`.
    Call,
    /// An item `compaction_trigger` at the end of an ordinary request, which is answered with a `compaction` item.
    Trigger,
}

/// What an endpoint gave in place of a conversation.
#[derive(Debug)]
pub struct Compacted {
    /// The items that stand for what was left out; never empty.
    pub items: Vec<Box<RawValue>>,
    /// Token counts, if there were any.
    pub usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Answer {
    output: Vec<Box<RawValue>>,
    usage: Option<UsageShape>,
}

/// Whether an item stands for what was left out.
pub(super) fn is_compaction(type_name: &str) -> bool {
    matches!(type_name, "compaction" | "compaction_summary")
}

impl Client {
    /// Asks the endpoint for what stands in the conversation's place. It is asked once: who has another means can go on with that.
    ///
    /// # Errors
    /// As for [`Self::respond`]; [`ModelError::Protocol`] if the answer holds no such item.
    pub async fn compact(&self, head: &EncodedHead, conversation: &Conversation) -> Result<Compacted, ModelError> {
        let body = conversation.compact_body(head);
        let asked = async { self.post_compact(body).await.map_err(|failure| failure.error) };
        match timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(ModelError::NoAnswer { host: self.endpoint().host(), after: PATIENCE }),
        }
    }

    async fn post_compact(&self, body: Bytes) -> Result<Compacted, Failure> {
        let mut response = self
            .post("/compact", body)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .send()
            .await
            .map_err(|error| self.not_sent(&error))?;
        if response.status() != 200 {
            return Err(self.refused(response).await);
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.not_sent(&error))? {
            text.extend_from_slice(&chunk);
            if text.len() > CAP {
                return Err(Failure::last(ModelError::TooLarge { why: format!("the compacted conversation is longer than {CAP} bytes") }));
            }
        }
        let protocol = |why: String| Failure::last(ModelError::Protocol { why: self.shown(&why) });
        let answer: Answer = serde_json::from_slice(&text).map_err(|error| protocol(format!("its compaction makes no sense: {error}")))?;
        let items: Vec<Box<RawValue>> = answer.output.into_iter().filter(|item| stands_for_others(item)).collect();
        if items.is_empty() {
            return Err(protocol("its compaction holds no compaction item".to_owned()));
        }
        Ok(Compacted { items, usage: answer.usage.map(Usage::from) })
    }
}

fn stands_for_others(item: &RawValue) -> bool {
    Item::parse(item).is_ok_and(|item| item.is_compaction())
}
