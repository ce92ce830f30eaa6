//! Values as both databases have them, and rows of them.

use crate::fault::Fault;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// A parameter of a statement, or a column of what it returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// A whole number. Times are milliseconds since the Unix epoch.
    Integer(i64),
    /// A text without U+0000.
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Self::Integer(moment.as_millis())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<EventId> for Value {
    fn from(id: EventId) -> Self {
        Self::Text(id.to_string())
    }
}

impl From<WebhookId> for Value {
    fn from(id: WebhookId) -> Self {
        Self::Text(id.to_string())
    }
}

impl From<&ApplicationId> for Value {
    fn from(id: &ApplicationId) -> Self {
        Self::Text(id.as_str().to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row, read from its first column to its last.
pub struct Row {
    statement: &'static str,
    columns: std::vec::IntoIter<Value>,
    read: usize,
}

impl Row {
    /// A row that this statement returned.
    pub fn new(statement: &'static str, columns: Vec<Value>) -> Self {
        let columns = columns.into_iter();
        Self {
            statement,
            columns,
            read: 0,
        }
    }

    /// The next column, as `read` reads it.
    ///
    /// # Errors
    ///
    /// [`Fault::Dependency`] when there is none, or it is not what we write there.
    fn next<T>(&mut self, read: impl FnOnce(Value) -> Option<T>) -> Result<T, Fault> {
        self.read += 1;
        let value = self.columns.next().and_then(read);
        value.ok_or_else(|| {
            let (statement, column) = (self.statement, self.read);
            Fault::Dependency(format!(
                "database: column {column} of {statement} cannot be read"
            ))
        })
    }

    /// The next column, a number; `None`: it has no value.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn optional_integer<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, Fault> {
        self.next(|value| match value {
            Value::Null => Some(None),
            Value::Integer(number) => T::try_from(number).ok().map(Some),
            Value::Text(_) => None,
        })
    }

    /// The next column, a number.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn integer<T: TryFrom<i64>>(&mut self) -> Result<T, Fault> {
        self.next(|value| match value {
            Value::Integer(number) => T::try_from(number).ok(),
            _ => None,
        })
    }

    /// The next column, a number that is 0 or not.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn flag(&mut self) -> Result<bool, Fault> {
        Ok(self.integer::<i64>()? != 0)
    }

    /// The next column, a moment; `None`: it has no value.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn optional_moment(&mut self) -> Result<Option<Timestamp>, Fault> {
        Ok(self.optional_integer()?.map(Timestamp::from_millis))
    }

    /// The next column, a moment.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn moment(&mut self) -> Result<Timestamp, Fault> {
        Ok(Timestamp::from_millis(self.integer()?))
    }

    /// The next column, a text; `None`: it has no value.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn optional_text(&mut self) -> Result<Option<String>, Fault> {
        self.optional(Some)
    }

    /// The next column, a text.
    ///
    /// # Errors
    ///
    /// [`Fault::Dependency`] when there is no column left, or it holds something else.
    pub fn text(&mut self) -> Result<String, Fault> {
        self.required(Some)
    }

    /// The next column, a text that `parse` understands; `None`: it has no value.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn optional<T>(
        &mut self,
        parse: impl FnOnce(String) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        self.next(|value| match value {
            Value::Null => Some(None),
            Value::Text(text) => parse(text).map(Some),
            Value::Integer(_) => None,
        })
    }

    /// The next column, a text that `parse` understands.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn required<T>(&mut self, parse: impl FnOnce(String) -> Option<T>) -> Result<T, Fault> {
        self.next(|value| match value {
            Value::Text(text) => parse(text),
            _ => None,
        })
    }

    /// The next column, an event's id.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn event_id(&mut self) -> Result<EventId, Fault> {
        self.required(|text| EventId::parse(&text))
    }

    /// The next column, a webhook's id.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn webhook_id(&mut self) -> Result<WebhookId, Fault> {
        self.required(|text| WebhookId::parse(&text))
    }

    /// The next column, an application's id.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn application_id(&mut self) -> Result<ApplicationId, Fault> {
        self.required(|text| ApplicationId::parse(&text))
    }

    /// The next column, the name of an event type.
    ///
    /// # Errors
    ///
    /// As [`Self::text`].
    pub fn event_type(&mut self) -> Result<EventType, Fault> {
        self.required(|text| EventType::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_not_what_was_written_is_the_databases_failure() {
        let row = |columns: &[Value]| Row::new("claim", columns.to_vec());
        let text = Value::from("x");
        let errors = [
            row(&[]).text().err(),
            row(&[Value::Null]).text().err(),
            row(&[1_i64.into()]).text().err(),
            row(std::slice::from_ref(&text)).event_id().err(),
            row(std::slice::from_ref(&text)).integer::<i64>().err(),
            row(&[(-1_i64).into()]).integer::<u32>().err(),
            row(&[70_000_i64.into()]).optional_integer::<u16>().err(),
        ];
        for error in errors {
            let text = "database: column 1 of claim cannot be read".to_owned();
            assert_eq!(error, Some(Fault::Dependency(text)));
        }
        let mut second = row(&[text, Value::Null]);
        assert_eq!(second.text().unwrap(), "x");
        assert_eq!(second.optional_text().unwrap(), None);
        assert!(second.flag().is_err());
    }
}
