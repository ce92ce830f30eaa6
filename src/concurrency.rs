//! Many calls of the host at a time.

use std::future::Future;
use std::pin::Pin;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::fault::Fault;

/// How many calls are under way at a time.
const MAX_CONCURRENCY: usize = 32;

type Call<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + 'a>>;

/// What the calls return, in their order.
///
/// # Errors
///
/// That of the first to fail. Those that are under way then are cancelled.
pub async fn try_join_bounded<T>(
    calls: impl IntoIterator<Item = impl Future<Output = Result<T, Fault>>>,
) -> Result<Vec<T>, Fault> {
    let calls: Vec<_> = calls.into_iter().collect();
    let mut returned: Vec<Option<T>> = calls.iter().map(|_| None).collect();
    let calls = calls.into_iter().zip(&mut returned);
    let calls = calls.map(|(call, returned)| -> Call<'_> {
        Box::pin(async move {
            *returned = Some(call.await?);
            Ok(())
        })
    });
    run(calls.collect()).await?;
    Ok(returned.into_iter().flatten().collect())
}

/// Not generic: what runs them is three kilobytes of the component.
async fn run(calls: Vec<Call<'_>>) -> Result<(), Fault> {
    let running = stream::iter(calls).buffer_unordered(MAX_CONCURRENCY);
    running.try_collect().await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use futures::future::{pending, ready};

    use super::*;

    #[test]
    fn what_is_returned_keeps_its_order_and_an_error_ends_the_wait() {
        let numbers = try_join_bounded((0..100).map(|number| ready(Ok(number)))).now_or_never();
        assert!(numbers.unwrap().unwrap().into_iter().eq(0..100));

        let calls = (0..3).map(async |number| match number {
            1 => Err(Fault::Internal(String::new())),
            _ => pending().await,
        });
        let result: Option<Result<Vec<()>, Fault>> = try_join_bounded(calls).now_or_never();
        assert!(matches!(result, Some(Err(Fault::Internal(_)))));
    }

    #[test]
    fn no_more_than_32_are_under_way() {
        let started = AtomicUsize::new(0);
        let calls = (0..100).map(async |_| {
            started.fetch_add(1, Ordering::Relaxed);
            pending::<Result<(), Fault>>().await
        });
        assert!(try_join_bounded(calls).now_or_never().is_none());
        assert_eq!(started.into_inner(), 32);
    }
}
