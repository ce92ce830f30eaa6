//! Wasmtime's settings, and components compiled with them.

use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The settings of Wasmtime that matter here. With `perf_map` it lists for `perf` which function of
/// the component is where, in `/tmp/perf-PID.map`.
///
/// # Errors
///
/// When Wasmtime does not run on this machine.
pub fn engine(perf_map: bool) -> anyhow::Result<Engine> {
    let mut config = wasmtime::Config::new();
    if perf_map {
        config.profiler(wasmtime::ProfilingStrategy::PerfMap);
    }
    config.wasm_component_model_async(true);
    // Instances come and go with the load, as on Spin: taking them from a pool costs microseconds.
    let mut pool = wasmtime::PoolingAllocationConfig::default();
    pool.total_memories(1000)
        .total_core_instances(4000)
        .total_component_instances(1000)
        .total_stacks(1000)
        .total_tables(2000)
        .table_elements(100_000);
    config.allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

/// Compiles, and keeps the result beside the wasm under a name that holds the hash of the wasm and
/// of this Wasmtime's settings: the next start takes milliseconds.
///
/// # Errors
///
/// A file that is not there, or no component.
pub fn compiled(engine: &Engine, source: &Path) -> anyhow::Result<Component> {
    let wasm = std::fs::read(source)
        .with_context(|| format!("cannot read {} (run `cargo xtask build`)", source.display()))?;
    let mut hash = Sha256::new();
    hash.update(&wasm);
    let mut settings = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut settings);
    hash.update(std::hash::Hasher::finish(&settings).to_le_bytes());
    let name = base16ct::lower::encode_string(&hash.finalize()[..12]);
    let kept = source.with_file_name(format!("{name}.cwasm"));
    if kept.exists() {
        // SAFETY: the file is one that `precompile_component` wrote in our own build folder; who
        // can write there can replace this program as well.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize_file(engine, &kept) };
        if let Ok(component) = component {
            return Ok(component);
        }
    }
    let code = engine
        .precompile_component(&wasm)
        .map_err(|error| anyhow::anyhow!("{} is not a component: {error}", source.display()))?;
    let partial = source.with_file_name(format!("{name}.{}.partial", std::process::id()));
    std::fs::write(&partial, &code)?;
    std::fs::rename(&partial, &kept)?;
    // SAFETY: `code` comes from `precompile_component` of the same engine.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize(engine, &code) };
    Ok(component?)
}
