//! What a request's body says, whichever way it is written: what repeats are recognized by.

use serde_json::{Map, Value};

use super::collections::map;

/// A body as it was sent, and as every body that means the same is written.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Its bytes.
    pub sent: Vec<u8>,
    /// JSON without white space, members sorted by name, those that are `null` left out, whole
    /// numbers without a fraction.
    pub canonical: Vec<u8>,
}

impl Content {
    /// What an object with these members says.
    ///
    /// # Errors
    ///
    /// What cannot be written as JSON.
    pub fn of(sent: Vec<u8>, members: &[(String, Value)]) -> serde_json::Result<Self> {
        let members = members.iter().filter(|(_, value)| !value.is_null());
        let members = map(members.map(|(name, value)| (name.as_str(), normalized(value))));
        let canonical = serde_json::to_vec(&members)?;
        Ok(Self { sent, canonical })
    }
}

/// Whether both are JSON that says the same: whatever the white space, the order of members, the escapes
/// in strings, and how a whole number is written.
pub fn mean_the_same(one: &[u8], other: &[u8]) -> bool {
    let read = |json| serde_json::from_slice::<Value>(json).ok();
    match (read(one), read(other)) {
        (Some(one), Some(other)) => normalized(&one) == normalized(&other),
        _ => false,
    }
}

/// The value with its objects' members sorted, and its whole numbers without a fraction.
fn normalized(value: &Value) -> Value {
    /// The first whole number that a double cannot tell from its neighbours.
    const INEXACT: f64 = 9_007_199_254_740_992.0;

    match value {
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 && whole.abs() < INEXACT => {
                Value::from(whole as i64)
            }
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(normalized).collect(),
        Value::Object(members) => {
            let mut sorted = Map::new();
            for (name, value) in map(members) {
                sorted.insert(name.clone(), normalized(value));
            }
            Value::Object(sorted)
        }
        other => other.clone(),
    }
}
