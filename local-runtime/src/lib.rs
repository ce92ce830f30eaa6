//! Spin's interfaces on Wasmtime: enough of Spin 4.1 to run this project's components where
//! Spin is not installed, with faults on demand for the tests.
//!
//! It is a development tool. Production is Spin.

pub mod control;
pub mod faults;
pub mod key_value;
pub mod manifest;
pub mod outbound;
pub mod runtime_config;
pub mod server;
pub mod stats;

/// The host's side of the interfaces in `wit/`.
#[allow(missing_docs)]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "spin:key-value/key-value.store": crate::key_value::OpenStore,
        },
    });
}
