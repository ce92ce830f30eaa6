//! The endpoint of every webhook in the benchmark: answers at once, counts, and on demand notes when
//! each event came.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use do_nothing::recording::marker;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The endpoint.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    count: AtomicU64,
    notes: AtomicBool,
    noted: Mutex<Vec<(u64, Instant)>>,
}

impl Receiver {
    /// One on the loopback.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start() -> Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let receiver = Arc::new(Self {
            address: listener.local_addr()?,
            count: AtomicU64::new(0),
            notes: AtomicBool::new(false),
            noted: Mutex::default(),
        });
        tokio::spawn(receiver.clone().serve(listener));
        Ok(receiver)
    }

    /// How many deliveries have come.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// From now on notes each event by the number in its marker, until [`Self::noted`].
    pub fn note(&self) {
        self.locked().clear();
        self.notes.store(true, Ordering::Relaxed);
    }

    /// How many deliveries were noted so far.
    pub fn noted_so_far(&self) -> u64 {
        self.locked().len() as u64
    }

    /// What was noted.
    pub fn noted(&self) -> Vec<(u64, Instant)> {
        self.notes.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.locked())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<(u64, Instant)>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let receiver = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| receiver.answer(request));
                // A delivery that breaks off is missed in the count.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        if self.notes.load(Ordering::Relaxed) {
            let text = std::str::from_utf8(&body)?;
            let number = marker(text).and_then(|marker| marker.split_once('-')?.1.parse().ok());
            if let Some(number) = number {
                self.locked().push((number, Instant::now()));
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(Empty::new()))
    }
}
