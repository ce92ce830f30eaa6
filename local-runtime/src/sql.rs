//! What SQLite and PostgreSQL have in common here: how a result reaches the guest, and how faults
//! find a statement by its name.

use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, StreamProducer, StreamResult};

use crate::faults::{Struck, When};
use crate::instruments::{Instruments, injected_trap};
use crate::stats::{Caller, Ongoing};

/// The operation of a statement, whose key is the statement's [`name`].
pub const STATEMENT: &str = "sql";

/// The operation of a new connection.
pub const OPEN: &str = "sql-open";

/// How many rows Spin reads ahead of the guest.
pub const ROWS_AHEAD: usize = 4;

/// The name of a statement: what its leading comment says (`/* publish */ INSERT …`), else its first
/// word in lower case.
pub fn name(statement: &str) -> String {
    let statement = statement.trim_start();
    let comment = statement
        .strip_prefix("/*")
        .and_then(|rest| rest.split_once("*/"));
    match comment {
        Some((name, _)) => name.trim().to_owned(),
        None => statement
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase(),
    }
}

/// The result of a statement, which may still be running.
///
/// The guest learns whether the statement worked from `end` alone, as on Spin.
pub struct Answer<C, R, E> {
    /// The columns.
    pub columns: Vec<C>,
    /// The rows, [`ROWS_AHEAD`] at most of which are read before the guest asks for them.
    pub rows: mpsc::Receiver<R>,
    /// How it ended.
    pub end: oneshot::Receiver<Result<(), E>>,
}

impl<C, R: Send + 'static, E: Send + 'static> Answer<C, R, E> {
    /// The result of a statement that failed.
    fn failed(error: E) -> Self {
        Self::replayed(Vec::new(), Vec::new(), Err(error))
    }

    /// A result that is there as a whole, given out row by row.
    fn replayed(columns: Vec<C>, replayed: Vec<R>, result: Result<(), E>) -> Self {
        let (row, rows) = mpsc::channel(ROWS_AHEAD);
        let (ended, end) = oneshot::channel();
        tokio::spawn(async move {
            for next in replayed {
                // The guest may have dropped them.
                let _ = row.send(next).await;
            }
            drop(row);
            let _ = ended.send(result);
        });
        Self { columns, rows, end }
    }

    /// Waits until the statement has ended, and returns its result as a whole. `None` when its end
    /// was lost: the statement's thread panicked.
    async fn gathered(mut self) -> Option<(Vec<C>, Vec<R>, Result<(), E>)> {
        let mut rows = Vec::new();
        while let Some(row) = self.rows.recv().await {
            rows.push(row);
        }
        let result = self.end.await.ok()?;
        Some((self.columns, rows, result))
    }

    /// Records when the statement ends.
    fn recorded(self, instruments: &Instruments, ongoing: Option<Ongoing>) -> Self {
        if ongoing.is_none() {
            return self;
        }
        let (ended, end) = oneshot::channel();
        let stats = instruments.stats.clone();
        let original = self.end;
        tokio::spawn(async move {
            let result = original.await;
            stats.ended(ongoing, None);
            if let Ok(result) = result {
                let _ = ended.send(result);
            }
        });
        Self { end, ..self }
    }
}

/// Runs a statement that returns rows, or what a fault makes of it. An injected error is `injected`
/// and is reported at the result's end, as SQLite's and PostgreSQL's own are. `parameters` are what a
/// request that is followed gave it.
///
/// # Errors
///
/// The outer error is a trap that a fault injected.
pub async fn query<C, R, E>(
    instruments: &Instruments,
    statement: &str,
    parameters: Option<Value>,
    caller: Caller<'_>,
    injected: E,
    operation: impl Future<Output = Result<Answer<C, R, E>, E>> + Send + 'static,
) -> wasmtime::Result<Result<Answer<C, R, E>, E>>
where
    C: Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    let name = name(statement);
    let ongoing = instruments.stats.operation(STATEMENT, &name, caller);
    if let Some(parameters) = parameters {
        let detail = json!({"sql": statement, "parameters": parameters});
        instruments.stats.detail(ongoing.as_ref(), detail);
    }
    let answer = match instruments.faults.strike(STATEMENT, &name, caller) {
        None => operation.await,
        Some(fault) => {
            let detach = fault.detach;
            let faulty = async move {
                match fault.act(When::Before).await {
                    Struck::GoOn => {}
                    Struck::Error => return Ok(Ok(Answer::failed(injected))),
                    Struck::Trap => return Err(injected_trap()),
                }
                let answer = match operation.await {
                    Ok(answer) if fault.when == When::After => answer,
                    other => return Ok(other),
                };
                let Some((columns, rows, result)) = answer.gathered().await else {
                    return Ok(Ok(Answer::failed(injected)));
                };
                match fault.act(When::After).await {
                    Struck::GoOn => Ok(Ok(Answer::replayed(columns, rows, result))),
                    Struck::Error => Ok(Ok(Answer::failed(injected))),
                    Struck::Trap => Err(injected_trap()),
                }
            };
            if detach {
                tokio::spawn(faulty).await??
            } else {
                faulty.await?
            }
        }
    };
    match answer {
        Ok(answer) => Ok(Ok(answer.recorded(instruments, ongoing))),
        Err(error) => {
            instruments.stats.ended(ongoing, None);
            Ok(Err(error))
        }
    }
}

/// Gives the guest a row whenever it asks for one.
pub struct Rows<R>(pub mpsc::Receiver<R>);

impl<D, R: Send + Sync + 'static> StreamProducer<D> for Rows<R> {
    type Item = R;
    type Buffer = Option<R>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, R, Option<R>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.0.poll_recv(context) {
            Poll::Ready(Some(row)) => {
                destination.set_buffer(Some(row));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::faults::Fault;

    #[test]
    fn a_statement_is_named_by_its_leading_comment_or_its_first_word() {
        for (statement, expected) in [
            ("/* publish */ INSERT INTO t", "publish"),
            ("\n  /*claim*/UPDATE t", "claim"),
            ("PRAGMA journal_mode = WAL", "pragma"),
            ("SELECT 1 /* late */", "select"),
            ("/* open", ""),
            ("", ""),
        ] {
            assert_eq!(name(statement), expected, "{statement}");
        }
    }

    type Numbers = Answer<&'static str, u32, &'static str>;

    /// A statement that returns six rows, and counts how often it ran.
    fn statement(
        ran: &Arc<AtomicUsize>,
    ) -> impl Future<Output = Result<Numbers, &'static str>> + Send + use<> {
        let ran = ran.clone();
        async move {
            ran.fetch_add(1, Ordering::SeqCst);
            Ok(Answer::replayed(vec!["n"], (0..6).collect(), Ok(())))
        }
    }

    struct Outcome {
        ran: usize,
        rows: Vec<u32>,
        result: Result<(), &'static str>,
    }

    /// What a guest that collects the rows learns, with this fault.
    async fn with(fault: &str) -> wasmtime::Result<Outcome> {
        let instruments = Instruments::default();
        let fault: Fault = serde_json::from_str(fault).unwrap();
        instruments.faults.arm(fault);
        let ran = Arc::default();
        let answer = query(
            &instruments,
            "/* publish */ INSERT",
            None,
            Caller(None),
            "injected",
            statement(&ran),
        )
        .await?;
        let (_, rows, result) = answer.unwrap().gathered().await.unwrap();
        let ran = ran.load(Ordering::SeqCst);
        Ok(Outcome { ran, rows, result })
    }

    #[tokio::test]
    async fn an_error_is_reported_at_the_end_before_and_after_the_effect() {
        for (when, ran) in [("before", 0), ("after", 1)] {
            let fault =
                format!(r#"{{"op":"sql","key":"publish","action":"error","when":"{when}"}}"#);
            let outcome = with(&fault).await.unwrap();
            assert_eq!((outcome.ran, outcome.rows.len()), (ran, 0), "{when}");
            assert_eq!(outcome.result, Err("injected"));
        }
    }

    #[tokio::test]
    async fn a_delay_changes_nothing_but_the_time() {
        for when in ["before", "after"] {
            let fault = format!(
                r#"{{"op":"sql","keyContains":"pub","action":"delay","delayMs":100,"when":"{when}"}}"#
            );
            let since = tokio::time::Instant::now();
            let outcome = with(&fault).await.unwrap();
            assert!(since.elapsed() >= Duration::from_millis(100), "{when}");
            assert_eq!((outcome.ran, outcome.rows), (1, (0..6).collect()), "{when}");
            assert_eq!(outcome.result, Ok(()));
        }
    }

    #[tokio::test]
    async fn a_trap_traps() {
        for when in ["before", "after"] {
            let fault = format!(r#"{{"op":"sql","action":"trap","when":"{when}"}}"#);
            assert!(with(&fault).await.is_err(), "{when}");
        }
    }

    #[tokio::test]
    async fn a_fault_of_another_statement_or_operation_spares_it() {
        for fault in [
            r#"{"op":"sql","key":"claim","action":"error"}"#,
            r#"{"op":"sql-open","action":"error"}"#,
        ] {
            let outcome = with(fault).await.unwrap();
            assert_eq!((outcome.ran, outcome.rows.len()), (1, 6), "{fault}");
            assert_eq!(outcome.result, Ok(()));
        }
    }

    #[tokio::test]
    async fn a_detached_statement_takes_effect_though_its_caller_gave_up() {
        let instruments = Instruments::default();
        let late = r#"{"op":"sql","action":"delay","delayMs":200,"detach":true}"#;
        instruments.faults.arm(serde_json::from_str(late).unwrap());
        let ran = Arc::default();
        let caller = Caller(None);
        let query = query(
            &instruments,
            "INSERT",
            None,
            caller,
            "injected",
            statement(&ran),
        );
        assert!(timeout(Duration::from_millis(20), query).await.is_err());
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_statement_of_a_followed_request_has_an_end() {
        let instruments = Instruments::default();
        instruments.stats.follow("a");
        let (caller, ran) = (Caller(Some("a")), Arc::default());
        let statement = statement(&ran);
        let answer = query(
            &instruments,
            "/* claim */ UPDATE",
            None,
            caller,
            "",
            statement,
        )
        .await;
        let answer = answer.unwrap().unwrap();
        let ended = || !instruments.stats.trace("a").unwrap()[0]["endedUs"].is_null();
        assert!(!ended(), "two of six rows are not read yet");
        answer.gathered().await.unwrap().2.unwrap();
        assert!(ended());
    }
}
