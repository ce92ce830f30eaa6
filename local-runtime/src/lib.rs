//! Spin's interfaces on Wasmtime: enough of Spin 4.1 to run this project's components where
//! Spin is not installed, with faults on demand for the tests.
//!
//! It is a development tool. Production is Spin.

pub mod allowed_hosts;
pub mod blocked_networks;
pub mod calls;
pub mod clock;
pub mod control;
pub mod engine;
pub mod faults;
pub mod instance;
pub mod instruments;
pub mod key_value;
pub mod manifest;
pub mod outbound;
#[allow(
    clippy::result_large_err,
    reason = "the error is the interface's, with all that the server reports"
)]
pub mod postgres;
pub mod probe;
pub mod routes;
pub mod runtime_config;
pub mod server;
pub mod sql;
pub mod sqlite;
pub mod stats;
pub mod variables;
pub mod view;

/// The host's side of the interfaces in `wit/`.
#[allow(missing_docs)]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "spin:key-value/key-value.store": crate::key_value::OpenStore,
            "spin:postgres/postgres.connection": crate::postgres::pool::Client,
            "spin:postgres/postgres.connection-builder": crate::postgres::Builder,
            "spin:sqlite/sqlite.connection": crate::sqlite::OpenConnection,
        },
    });
}
