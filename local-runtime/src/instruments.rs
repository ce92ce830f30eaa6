//! What tests see of the host's operations, and what they make of them.

use std::sync::Arc;

use crate::clock::Clock;
use crate::faults::{Faults, Struck, When};
use crate::stats::{Caller, Stats};

/// The armed faults, the counters and the clock, which all instances share.
#[derive(Clone, Default)]
pub struct Instruments {
    /// The armed faults.
    pub faults: Arc<Faults>,
    /// The counters.
    pub stats: Arc<Stats>,
    /// The clock.
    pub clock: Arc<Clock>,
}

impl Instruments {
    /// Runs an operation, or what a fault makes of it, and records its times and the `size` of its
    /// value in bytes. An injected error is `injected`.
    ///
    /// # Errors
    ///
    /// The outer error is a trap that a fault injected.
    pub async fn run<R: Send + 'static, E: Send + 'static>(
        &self,
        op: &'static str,
        key: &str,
        caller: Caller<'_>,
        injected: E,
        size: impl FnOnce(&R) -> Option<usize> + Send,
        operation: impl Future<Output = Result<R, E>> + Send + 'static,
    ) -> wasmtime::Result<Result<R, E>> {
        let ongoing = self.stats.operation(op, key, caller);
        let result = self
            .run_or_strike(op, key, caller, injected, operation)
            .await;
        let bytes = match &result {
            Ok(Ok(value)) => size(value),
            _ => None,
        };
        self.stats.ended(ongoing, bytes);
        result
    }

    async fn run_or_strike<R: Send + 'static, E: Send + 'static>(
        &self,
        op: &'static str,
        key: &str,
        caller: Caller<'_>,
        injected: E,
        operation: impl Future<Output = Result<R, E>> + Send + 'static,
    ) -> wasmtime::Result<Result<R, E>> {
        let Some(fault) = self.faults.strike(op, key, caller) else {
            return Ok(operation.await);
        };
        let detach = fault.detach;
        let faulty = async move {
            match fault.act(When::Before).await {
                Struck::GoOn => {}
                Struck::Error => return Ok(Err(injected)),
                Struck::Trap => return Err(injected_trap()),
            }
            let result = operation.await;
            match fault.act(When::After).await {
                Struck::GoOn => Ok(result),
                Struck::Error => Ok(Err(injected)),
                Struck::Trap => Err(injected_trap()),
            }
        };
        if detach {
            return tokio::spawn(faulty).await?;
        }
        faulty.await
    }
}

/// The error that makes the guest trap.
pub fn injected_trap() -> wasmtime::Error {
    wasmtime::Error::msg("injected trap")
}
