//! What is wrong with a request, collected, so that one response names all of it.

use super::error::{Detail, Error};

/// Collects what is wrong with a request, so that the client is told all of it at once.
#[derive(Debug, Default)]
pub struct Details(pub(super) Vec<Detail>);

impl Details {
    /// Notes that `field` is wrong.
    pub fn add(&mut self, field: &str, message: impl ToString) {
        self.0.push(Detail {
            field: field.to_owned(),
            message: message.to_string(),
        });
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
        checked.ok_or_else(|| Error::Internal("a wrong field was not noted".to_owned()))
    }
}
