//! Many calls of the host at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::stream::{self, StreamExt, TryStreamExt};
use futures::task::AtomicWaker;

use crate::fault::Fault;

/// How many calls are under way at a time: Spin sends them together, so a page of 50 documents is read at once.
const MAX_CONCURRENCY: usize = 64;

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

/// `future`, which is polled only when it is woken.
///
/// What waits for several futures polls each of them whenever one is woken, and a poll of a call of the host
/// that is under way is a call of the host itself: wit-bindgen joins it to the waitable set once more.
pub struct WhenWoken<F> {
    future: F,
    signal: Arc<Signal>,
}

struct Signal {
    is_woken: AtomicBool,
    waker: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// [`WhenWoken`].
pub fn when_woken<F: Future + Unpin>(future: F) -> WhenWoken<F> {
    let signal = Arc::new(Signal {
        is_woken: AtomicBool::new(true),
        waker: AtomicWaker::new(),
    });
    WhenWoken { future, signal }
}

impl<F: Future + Unpin> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.signal.waker.register(context.waker());
        if !self.signal.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.signal.clone());
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

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
    fn what_is_polled_when_it_is_woken_is_not_polled_for_another() {
        let polls = AtomicUsize::new(0);
        let waker = std::sync::Mutex::new(None);
        let call = std::future::poll_fn(|context| {
            *waker.lock().unwrap() = Some(context.waker().clone());
            match polls.fetch_add(1, Ordering::Relaxed) {
                1 => Poll::Ready(()),
                _ => Poll::<()>::Pending,
            }
        });
        let mut call = when_woken(call);
        let woken = Arc::new(Woken::default());
        let outer = Waker::from(woken.clone());
        let mut poll = || Pin::new(&mut call).poll(&mut Context::from_waker(&outer));
        assert!(poll().is_pending() && poll().is_pending());
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        assert!(!woken.0.load(Ordering::Relaxed));
        waker.lock().unwrap().take().unwrap().wake();
        assert!(woken.0.load(Ordering::Relaxed));
        assert_eq!(poll(), Poll::Ready(()));
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn no_more_than_64_are_under_way() {
        let started = AtomicUsize::new(0);
        let calls = (0..100).map(async |_| {
            started.fetch_add(1, Ordering::Relaxed);
            pending::<Result<(), Fault>>().await
        });
        assert!(try_join_bounded(calls).now_or_never().is_none());
        assert_eq!(started.into_inner(), 64);
    }
}
