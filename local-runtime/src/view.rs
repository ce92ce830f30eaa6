//! What every host interface sees of the instance that calls it.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use wasmtime::AsContextMut;
use wasmtime::component::{Accessor, GuestTaskId, HasData, ResourceTable};

/// The part of an instance that one interface works on.
pub struct View<'a, C> {
    /// The interface's own state.
    pub context: &'a mut C,
    /// The instance's resources.
    pub table: &'a mut ResourceTable,
    /// The names of the instance's requests that have one.
    pub requests: &'a HashMap<GuestTaskId, Arc<str>>,
}

/// Names the [`View`] with context `C` for the linker.
pub struct Has<C>(PhantomData<C>);

impl<C: 'static> HasData for Has<C> {
    type Data<'a> = View<'a, C>;
}

/// The name of the request that the guest works on right now, if it has one.
///
/// # Errors
///
/// When Wasmtime has lost track of the call.
pub fn request<T, C: 'static>(
    accessor: &Accessor<T, Has<C>>,
) -> wasmtime::Result<Option<Arc<str>>> {
    accessor.with(|mut access| {
        let task = access.as_context_mut().async_call_stack()?.last();
        let requests = access.get().requests;
        Ok(task.and_then(|task| requests.get(&task)).cloned())
    })
}
