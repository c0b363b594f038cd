//! Where a value stands that the compiled policy holds without its place: the file is looked at once more.

use std::ops::Range;

use super::super::{
    error::Source,
    file::{self, PolicyFile},
    model::Origin,
};

/// The files of a policy, read once more for the places of their values.
pub(super) struct Written<'a> {
    files: Vec<(&'a Source, PolicyFile)>,
}

impl<'a> Written<'a> {
    pub(super) fn new(sources: &'a [Source]) -> Self {
        Self { files: sources.iter().filter_map(|source| Some((source, file::parse(source).ok()?))).collect() }
    }

    /// Where the first file that has such a value has it. If none has, the head of the first file: that is where it could be written.
    pub(super) fn origin(&self, find: impl Fn(&PolicyFile) -> Option<Range<usize>>) -> Origin {
        let mut found = self.files.iter().filter_map(|(source, file)| Some((source, find(file)?)));
        match found.next() {
            Some((source, span)) => Origin { file: source.file.clone(), line: source.line(span.start), group: None },
            None => Origin { file: self.files.first().map_or_else(String::new, |(source, _)| source.file.clone()), line: 1, group: None },
        }
    }
}
