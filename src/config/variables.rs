//! One variable: how it is read, and what is said of one that is wrong.

use std::ops::RangeInclusive;

use spin_sdk::variables;

use crate::fault::Fault;

/// A variable is missing or malformed. Names it, and never holds its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "variable `{}` {}", self.variable, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// The variables, by name.
pub struct Variables<'a>(pub &'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    /// The variable's value, if it is set and not empty.
    pub fn optional(&self, variable: &'static str) -> Option<String> {
        let value = (self.0)(variable).map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    }

    /// The whole number that the variable is.
    pub fn number(
        &self,
        variable: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let Some(text) = self.optional(variable) else {
            return Ok(default);
        };
        let number = text.parse().ok();
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (least, most) = range.into_inner();
                let range = format!("must be a whole number from {least} to {most}");
                problem(variable, range)
            })
    }
}

/// A variable's value; `None`: it is not set.
pub async fn read(variable: &'static str) -> Result<Option<String>, Fault> {
    match variables::get(variable).await {
        Ok(value) => Ok(Some(value)),
        Err(variables::Error::Undefined(_)) => Ok(None),
        // The provider's text may hold what it should not: left out.
        Err(_) => Err(Fault::Dependency(format!(
            "variable `{variable}` could not be read"
        ))),
    }
}

pub fn problem(variable: &'static str, problem: impl ToString) -> ConfigError {
    ConfigError {
        variable,
        problem: problem.to_string(),
    }
}
