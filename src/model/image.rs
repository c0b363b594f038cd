//! An image as it is sent.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

/// How an image is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `image/png`
    Png,
    /// `image/jpeg`
    Jpeg,
}

/// An image as a data URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    url: String,
}

impl Image {
    /// An image of these bytes.
    pub fn new(media_type: MediaType, bytes: &[u8]) -> Self {
        let name = match media_type {
            MediaType::Png => "png",
            MediaType::Jpeg => "jpeg",
        };
        let mut url = format!("data:image/{name};base64,");
        STANDARD.encode_string(bytes, &mut url);
        Self { url }
    }

    /// The data URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The pixels are for the model; nothing that prints for debugging gets them.
impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("url_bytes", &self.url.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_data_url_and_is_not_printed() {
        let image = Image::new(MediaType::Png, b"\x89PNG");
        assert_eq!(image.url(), "data:image/png;base64,iVBORw==");
        assert!(!format!("{image:?}").contains("iVBOR"));
    }
}
