//! `spin:variables@3.0.0`.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::Accessor;

use crate::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use crate::stats::{Call, Stats};
use crate::view::{Has, View, request};

/// The variables of a component, by name.
#[derive(Clone)]
pub struct Variables {
    /// Their values.
    pub values: Arc<BTreeMap<String, String>>,
    /// The counters.
    pub stats: Arc<Stats>,
}

impl Host for View<'_, Variables> {}

impl<T: Send> HostWithStore<T> for Has<Variables> {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, Error>> {
        let caller = request(accessor)?;
        let Variables { values, stats } = accessor.with(|mut access| access.get().context.clone());
        if let Some(caller) = caller {
            stats.call(Call::Variable, &caller);
        }
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !valid {
            return Ok(Err(Error::InvalidName(name)));
        }
        let value = values.get(&name).cloned();
        Ok(value.ok_or_else(|| Error::Undefined(format!("no variable for \"{name}\""))))
    }
}
