//! Counts the calls of WASI that the requests make which tests follow: timers, clocks, randomness, lines
//! of log. Calls of Spin's interfaces are counted where these are.
//!
//! WASI's own functions do not see which request calls them, so each of these takes the place of one,
//! notes the call, and does what that does.

use std::time::Duration;

use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi::p2::bindings::clocks as clocks_p2;
use wasmtime_wasi::p2::bindings::io::streams::{self, HostOutputStream};
use wasmtime_wasi::p2::bindings::random as random_p2;
use wasmtime_wasi::p3::bindings::clocks as clocks_p3;
use wasmtime_wasi::p3::bindings::random as random_p3;
use wasmtime_wasi::random::WasiRandomView;

use crate::instance::State;
use crate::stats::Call;

/// Puts the functions that count in the place of WASI's own.
///
/// # Errors
///
/// When the linker has no such interface.
pub fn count(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    clocks(linker)?;
    randomness(linker)?;
    output(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Notes a call of the request that the guest works on right now, where that is followed.
fn note(store: &mut StoreContextMut<'_, State>, call: Call) -> wasmtime::Result<()> {
    // Where nobody is followed, a benchmark may be running.
    if store.data().follows_nobody() {
        return Ok(());
    }
    let task = store.async_call_stack()?.last();
    if let Some(task) = task {
        store.data().note(task, call);
    }
    Ok(())
}

fn clocks(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut instance = linker.instance("wasi:clocks/wall-clock@0.2.12")?;
    instance.func_wrap("now", |mut store: StoreContextMut<'_, State>, (): ()| {
        note(&mut store, Call::Clock)?;
        let now = clocks_p2::wall_clock::Host::now(&mut store.data_mut().clocks())?;
        Ok((now,))
    })?;
    let mut instance = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    instance.func_wrap("now", |mut store: StoreContextMut<'_, State>, (): ()| {
        note(&mut store, Call::Clock)?;
        let now = clocks_p2::monotonic_clock::Host::now(&mut store.data_mut().clocks())?;
        Ok((now,))
    })?;
    let mut instance = linker.instance("wasi:clocks/system-clock@0.3.0")?;
    instance.func_wrap("now", |mut store: StoreContextMut<'_, State>, (): ()| {
        note(&mut store, Call::Clock)?;
        let now = clocks_p3::system_clock::Host::now(&mut store.data_mut().clocks())?;
        Ok((now,))
    })?;
    let mut instance = linker.instance("wasi:clocks/monotonic-clock@0.3.0")?;
    instance.func_wrap("now", |mut store: StoreContextMut<'_, State>, (): ()| {
        note(&mut store, Call::Clock)?;
        let now = clocks_p3::monotonic_clock::Host::now(&mut store.data_mut().clocks())?;
        Ok((now,))
    })?;
    instance.func_wrap_concurrent("wait-for", |accessor: &Accessor<State>, (wait,): (u64,)| {
        Box::pin(async move {
            accessor.with(|mut access| note(&mut access.as_context_mut(), Call::Timer))?;
            if wait > 0 {
                tokio::time::sleep(Duration::from_nanos(wait)).await;
            }
            Ok(())
        })
    })?;
    instance.func_wrap_concurrent(
        "wait-until",
        |accessor: &Accessor<State>, (when,): (u64,)| {
            Box::pin(async move {
                let now = accessor.with(|mut access| {
                    let mut store = access.as_context_mut();
                    note(&mut store, Call::Timer)?;
                    clocks_p3::monotonic_clock::Host::now(&mut store.data_mut().clocks())
                })?;
                if let Some(wait) = when.checked_sub(now) {
                    tokio::time::sleep(Duration::from_nanos(wait)).await;
                }
                Ok(())
            })
        },
    )
}

fn randomness(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut instance = linker.instance("wasi:random/random@0.2.12")?;
    instance.func_wrap(
        "get-random-bytes",
        |mut store: StoreContextMut<'_, State>, (length,): (u64,)| {
            note(&mut store, Call::Random)?;
            let random = store.data_mut().random();
            Ok((random_p2::random::Host::get_random_bytes(random, length)?,))
        },
    )?;
    instance.func_wrap(
        "get-random-u64",
        |mut store: StoreContextMut<'_, State>, (): ()| {
            note(&mut store, Call::Random)?;
            let random = store.data_mut().random();
            Ok((random_p2::random::Host::get_random_u64(random)?,))
        },
    )?;
    let mut instance = linker.instance("wasi:random/random@0.3.0")?;
    instance.func_wrap(
        "get-random-bytes",
        |mut store: StoreContextMut<'_, State>, (length,): (u64,)| {
            note(&mut store, Call::Random)?;
            let random = store.data_mut().random();
            Ok((random_p3::random::Host::get_random_bytes(random, length)?,))
        },
    )?;
    instance.func_wrap(
        "get-random-u64",
        |mut store: StoreContextMut<'_, State>, (): ()| {
            note(&mut store, Call::Random)?;
            let random = store.data_mut().random();
            Ok((random_p3::random::Host::get_random_u64(random)?,))
        },
    )
}

/// Standard output, where each line of log is one call, and the three that the standard library makes.
fn output(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Stream = Resource<DynOutputStream>;

    let mut instance = linker.instance("wasi:io/streams@0.2.12")?;
    instance.func_wrap_async(
        "[method]output-stream.blocking-write-and-flush",
        |mut store: StoreContextMut<'_, State>, (stream, bytes): (Stream, Vec<u8>)| {
            Box::new(async move {
                note(&mut store, Call::Log)?;
                let table = store.data_mut().table();
                let written = table.blocking_write_and_flush(stream, bytes).await;
                Ok((converted(table, written)?,))
            })
        },
    )?;
    instance.func_wrap(
        "[method]output-stream.check-write",
        |mut store: StoreContextMut<'_, State>, (stream,): (Stream,)| {
            note(&mut store, Call::Log)?;
            let table = store.data_mut().table();
            let room = table.check_write(stream);
            Ok((converted(table, room)?,))
        },
    )?;
    instance.func_wrap(
        "[method]output-stream.write",
        |mut store: StoreContextMut<'_, State>, (stream, bytes): (Stream, Vec<u8>)| {
            note(&mut store, Call::Log)?;
            let table = store.data_mut().table();
            let written = table.write(stream, bytes);
            Ok((converted(table, written)?,))
        },
    )
}

fn converted<T>(
    table: &mut wasmtime::component::ResourceTable,
    result: Result<T, wasmtime_wasi::p2::StreamError>,
) -> wasmtime::Result<Result<T, streams::StreamError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => streams::Host::convert_stream_error(table, error).map(Err),
    }
}
