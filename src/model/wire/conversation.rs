//! The items of a conversation, encoded once and only ever added to.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    EncodedHead, TAIL,
    link::{Link, one_line},
    write_json,
};
use crate::model::Image;

/// The items of a conversation as the bytes that are sent. Items can be appended, never changed or removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    encoded: Vec<u8>,
    /// Where each item begins.
    starts: Vec<usize>,
    /// A digest of all items up to and with each one.
    links: Vec<Link>,
    /// Items with images in them, and the bytes and number of these.
    images: Vec<(usize, usize, usize)>,
}

/// What an image counts as in [`Conversation::weight`], in bytes: about 1 500 tokens of text. What it costs depends on the model and on its size in pixels,
/// not on its bytes.
const IMAGE_WEIGHT: usize = 6_000;
/// What an image begins with in an item.
const IMAGE_BEGINS: &[u8] = b"\"data:image/";

/// Bytes of images in an item, and how many there are.
fn images_in(item: &[u8]) -> (usize, usize) {
    let (mut bytes, mut count, mut rest) = (0, 0, item);
    while let Some(begin) = memchr::memmem::find(rest, IMAGE_BEGINS) {
        rest = &rest[begin + 1..];
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        (bytes, count, rest) = (bytes + end, count + 1, &rest[end..]);
    }
    (bytes, count)
}

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'a str,
    role: &'a str,
    content: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    InputText { text: &'a str },
    InputImage { image_url: &'a str },
}

#[derive(Serialize)]
struct Output<'a, T> {
    r#type: &'a str,
    call_id: &'a str,
    output: T,
}

#[derive(serde::Deserialize)]
struct OwnedOutput {
    r#type: String,
    call_id: String,
    output: serde_json::Value,
}

/// The beginning and the end of a text that is longer than so many bytes.
pub fn clip(text: &str, cap: usize) -> String {
    if text.len() <= cap {
        return text.to_owned();
    }
    let (mut head, mut tail) = (cap / 2, text.len() - cap / 2);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{}\n[... {} bytes left out ...]\n{}", &text[..head], tail - head, &text[tail..])
}

impl Conversation {
    /// An empty conversation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an item exactly as the model sent it, but for line feeds between its parts, which become blanks.
    pub fn push_raw(&mut self, item: &RawValue) {
        self.separate();
        self.encoded.extend(one_line(item));
        self.link_last();
    }

    /// The digest of the first `items` items.
    pub fn link(&self, items: usize) -> Link {
        items.checked_sub(1).and_then(|last| self.links.get(last)).copied().unwrap_or_default()
    }

    /// The digests of all beginnings, the shortest first.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The items from a place on, with commas between them.
    pub(in crate::model) fn bytes_from(&self, place: usize) -> &[u8] {
        self.starts.get(place).and_then(|start| self.encoded.get(*start..)).unwrap_or_default()
    }

    fn link_last(&mut self) {
        let Some(start) = self.starts.last() else { return };
        let item = &self.encoded[*start..];
        let link = self.link(self.links.len()).after(item);
        let (bytes, count) = images_in(item);
        if count > 0 {
            self.images.push((self.links.len(), bytes, count));
        }
        self.links.push(link);
    }

    /// The last item.
    pub fn last(&self) -> Option<&RawValue> {
        self.item(self.starts.len().checked_sub(1)?)
    }

    /// All items in order.
    pub fn items(&self) -> impl Iterator<Item = &RawValue> {
        (0..self.starts.len()).filter_map(|place| self.item(place))
    }

    /// One item.
    pub fn item(&self, place: usize) -> Option<&RawValue> {
        serde_json::from_slice(self.item_bytes(place)?).ok()
    }

    /// The bytes of one item, without the commas around it.
    pub fn item_bytes(&self, place: usize) -> Option<&[u8]> {
        let end = self.starts.get(place + 1).map_or(self.encoded.len(), |next| next - 1);
        self.encoded.get(*self.starts.get(place)?..end)
    }

    /// The same conversation, where no output of a call is longer than so many bytes. For a request of its own only: it does not extend what was sent.
    #[must_use]
    pub fn with_clipped_outputs(&self, cap: usize) -> Self {
        let mut clipped = Self::new();
        for item in self.items() {
            match serde_json::from_str::<OwnedOutput>(item.get()) {
                Ok(output) if output.r#type == "function_call_output" && item.get().len() > cap => {
                    let text = output.output.as_str().map_or_else(|| "(left out)".to_owned(), |text| clip(text, cap));
                    clipped.push_output(&output.call_id, &text);
                }
                _ => clipped.push_raw(item),
            }
        }
        clipped
    }

    /// Takes back the last items. Only for items that were never sent.
    pub fn take_back(&mut self, count: usize) {
        let kept = self.starts.len().saturating_sub(count);
        if let Some(start) = self.starts.get(kept).copied() {
            // Without the comma before it.
            self.encoded.truncate(start.saturating_sub(1));
            self.starts.truncate(kept);
            self.links.truncate(kept);
            self.images.retain(|(place, ..)| *place < kept);
        }
    }

    /// Appends what the person said.
    pub fn push_user(&mut self, text: &str) {
        self.push_message("user", text);
    }

    /// Appends what the person said, with images.
    pub fn push_user_with_images<'i>(&mut self, text: &str, images: impl IntoIterator<Item = &'i Image>) {
        self.push_parts("user", text, images);
    }

    /// Appends what the harness says: environment facts, a changed policy.
    pub fn push_developer(&mut self, text: &str) {
        self.push_message("developer", text);
    }

    /// Appends the output of the call that the model named `call_id`.
    pub fn push_output(&mut self, call_id: &str, output_text: &str) {
        self.separate();
        write_json(&mut self.encoded, &Output { r#type: "function_call_output", call_id, output: output_text });
        self.link_last();
    }

    /// Appends the output of a call that ends with an image.
    pub fn push_output_with_image(&mut self, call_id: &str, output_text: &str, image: &Image) {
        self.separate();
        let output = [Part::InputText { text: output_text }, Part::InputImage { image_url: image.url() }];
        write_json(&mut self.encoded, &Output { r#type: "function_call_output", call_id, output });
        self.link_last();
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether nothing was said yet.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The items as sent, separated by commas. A position taken from its length before an append marks where the new item's
    /// bytes begin (after the comma, if it is not the first).
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The body of the next request: a copy of the head, the items and the tail.
    pub fn body(&self, head: &EncodedHead) -> Bytes {
        self.behind(head.as_bytes())
    }

    /// The body of a call of the endpoint's own compaction.
    pub(in crate::model) fn compact_body(&self, head: &EncodedHead) -> Bytes {
        self.behind(head.compact_bytes())
    }

    fn behind(&self, start: &[u8]) -> Bytes {
        Bytes::from([start, self.encoded.as_slice(), TAIL].concat())
    }

    /// How many bytes that body has, as far as they tell how many tokens it is: an image counts as a fixed number.
    pub fn weight(&self, head: &EncodedHead) -> usize {
        let images = self.images.iter().fold((0, 0), |(bytes, count), image| (bytes + image.1, count + image.2));
        self.body_len(head) - images.0 + images.1 * IMAGE_WEIGHT
    }

    /// How many bytes that body has.
    pub fn body_len(&self, head: &EncodedHead) -> usize {
        head.as_bytes().len() + self.encoded.len() + TAIL.len()
    }

    fn push_message(&mut self, role: &str, text: &str) {
        self.push_parts(role, text, []);
    }

    fn push_parts<'i>(&mut self, role: &str, text: &str, images: impl IntoIterator<Item = &'i Image>) {
        self.separate();
        let mut content = vec![Part::InputText { text }];
        content.extend(images.into_iter().map(|image| Part::InputImage { image_url: image.url() }));
        write_json(&mut self.encoded, &Message { r#type: "message", role, content });
        self.link_last();
    }

    fn separate(&mut self) {
        if !self.starts.is_empty() {
            self.encoded.push(b',');
        }
        self.starts.push(self.encoded.len());
    }
}
