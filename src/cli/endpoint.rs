//! The model's endpoint, with the key from the variable that is named for it.

use super::{exec::ExecError, resolve::Folders};
use crate::model::{Endpoint, Secret};

/// Which endpoint, model and key are meant.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) url: String,
    pub(super) model: String,
    pub(super) key_variable: String,
}

impl Provider {
    /// The endpoint, and the key by itself, to be kept out of everything else.
    pub(super) fn endpoint(&self, folders: &Folders) -> Result<(Endpoint, Option<String>), ExecError> {
        let mut endpoint = Endpoint::new(&self.url, &self.model)?;
        endpoint.key_variable.clone_from(&self.key_variable);
        let key = folders.environment.get(&self.key_variable).map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        match &key {
            Some(key) => endpoint = endpoint.with_key(Secret::new(key)),
            None if endpoint.is_local() => {}
            None => return Err(ExecError::NoKey { variable: self.key_variable.clone(), url: endpoint.base_url().to_owned() }),
        }
        Ok((endpoint, key))
    }
}
