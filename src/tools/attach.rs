//! Images: from a worker's reply to what is sent, and those that a person gives along with a prompt.

use std::{path::Path, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::{
    file,
    gate::{Gate, GateError},
    outcome::Done,
    recorded::milliseconds,
};
use crate::{
    audit::{CallStatus, LogError, SentImage},
    model::{Image, MediaType},
    policy::{Access, Judge},
    worker::{Encoding, Request, View, visible},
};

/// An image that goes along with a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name and size, for people and for the model.
    pub label: String,
    /// Its pixels.
    pub image: Image,
}

/// Why an image that a person names is not sent.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It cannot be seen in a sandbox, or is none.
    #[error("the image is not sent: {0}")]
    Refused(String),
    /// It could not be recorded, or no sandbox could be made.
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl From<LogError> for AttachError {
    fn from(error: LogError) -> Self {
        Self::Gate(error.into())
    }
}

/// An image that a worker has decoded, on its way to the model.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) image: Image,
    pub(super) record: SentImage,
}

/// Takes what a worker answers. A worker has read a file that may be hostile, so its words are not taken for granted: what goes on is base64 of this
/// program's own making, of a kind that it names itself.
pub(super) fn accept(view: &View, path: &str) -> Result<(Decoded, String), String> {
    let bytes = STANDARD.decode(&view.base64).map_err(|error| format!("the worker's image is no base64: {error}"))?;
    let media_type = match view.encoding {
        Encoding::Png => MediaType::Png,
        Encoding::Jpeg => MediaType::Jpeg,
    };
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let record = SentImage { sha256: digest, bytes: bytes.len() as u64, width: view.width, height: view.height };
    let scaled = if (view.width, view.height) == (view.original_width, view.original_height) {
        String::new()
    } else {
        format!(", shown at {}×{}", view.width, view.height)
    };
    let label = format!("{}, {}×{}{scaled}", visible(path), view.original_width, view.original_height);
    Ok((Decoded { image: Image::new(media_type, &bytes), record }, label))
}

impl Gate {
    /// Decodes an image that the person names, in a sandbox and on record as any call. That a person names it widens nothing: what the policy does
    /// not let be read is refused, with what would allow it.
    ///
    /// # Errors
    /// If it is refused or is no image; if it cannot be recorded, or no sandbox can be made.
    pub async fn attach(&self, path: &Path) -> Result<Attachment, AttachError> {
        let path = self.cwd().join(path);
        let Some(name) = path.to_str() else {
            return Err(AttachError::Refused(format!("{} has a name that is not UTF-8", path.display())));
        };
        let id = self.record_own_call("view_image", serde_json::json!({ "path": self.redact(name) }).to_string())?;
        let began = Instant::now();
        let request = Request::ViewImage { path: name.to_owned() };
        let done = file::serve(self, &request, &self.confinement()).await?;
        self.record_outcome(&id, milliseconds(began.elapsed()), &done)?;
        match done {
            Done { status: CallStatus::Ok, image: Some(Decoded { image, .. }), text, .. } => {
                let below = path.strip_prefix(&self.session().workspace).ok().and_then(Path::to_str);
                let label = below.and_then(|below| text.strip_prefix(name).map(|size| format!("{below}{size}")));
                Ok(Attachment { label: self.redact(&label.unwrap_or(text)), image })
            }
            Done { text, denials, .. } => {
                let mut why = text.strip_prefix("Error: ").unwrap_or(&text).to_owned();
                why.extend(denials.iter().map(|denial| format!("; {}", denial.sentence())));
                if denials.is_empty() && self.is_private_inside(&path) {
                    why.push_str(&format!(
                        "; a sandbox has a folder of its own in that place: copy the image to the workspace, or add \"{}\" to read under [filesystem] in a \
                         policy of your own",
                        self.confinement().explainer.named(&path)
                    ));
                }
                Err(AttachError::Refused(self.redact(&why)))
            }
        }
    }

    /// Whether a sandbox sees something else under this path than the host does.
    fn is_private_inside(&self, path: &Path) -> bool {
        let verdict = Judge::new(&self.confinement().policy, &self.anchors()).judge(path, Access::Read);
        super::access::is_private(verdict.because.rule.as_ref())
    }
}
