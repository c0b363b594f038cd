//! What a person asks: words, and images beside them.

use crate::tools::Attachment;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The words.
    pub text: String,
    /// The images, in order.
    pub images: Vec<Attachment>,
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), images: Vec::new() }
    }
}

impl Prompt {
    /// The words, and the names of the images: what is left of the prompt when a compaction takes the images away.
    pub(super) fn told(&self) -> String {
        let mut text = self.text.clone();
        for (number, image) in (1..).zip(&self.images) {
            let space = if number == 1 { "\n\n" } else { "\n" };
            text.push_str(&format!("{space}[image {number}: {}]", image.label));
        }
        text
    }
}
