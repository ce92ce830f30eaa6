//! What is wrong with a request, collected, so that one response names all of it.

use super::error::{Detail, Error};
use crate::fault::Fault;

/// How many wrong fields a response names at most: a body of 16 KiB can have thousands.
pub const MAX_DETAILS: usize = 32;

/// Collects what is wrong with a request, up to [`MAX_DETAILS`] notes, so that one response
/// names all of it.
#[derive(Debug, Default)]
pub struct Details(pub(super) Vec<Detail>);

impl Details {
    /// Notes that `field` is wrong.
    pub fn add(&mut self, field: &str, message: impl ToString) {
        if self.0.len() < MAX_DETAILS {
            self.0.push(Detail {
                field: field.to_owned(),
                message: message.to_string(),
            });
        }
    }

    /// Whether nothing was wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of these fields was wrong.
    pub fn has(&self, fields: &[&str]) -> bool {
        self.0
            .iter()
            .any(|detail| fields.contains(&detail.field.as_str()))
    }

    /// The value, or a note that `field` is wrong.
    pub fn check<T, E: ToString>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value
            .map_err(|error| self.add(field, error.to_string()))
            .ok()
    }

    /// 400 if anything was wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every note.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid(self.0))
    }

    /// What all checks together gave, or 400 if anything was wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every note.
    pub fn all<T>(self, checked: Option<T>) -> Result<T, Error> {
        self.finish()?;
        checked.ok_or_else(|| Fault::Internal("a wrong field was not noted".to_owned()).into())
    }
}
