//! Messages whose body begins to be written before their head is handed to the host.
//!
//! The SDK writes a body in a task of its own, which starts a turn or two of the instance's event
//! loop after the message was made. A head that is handed over before is a TCP segment of its own, and
//! Spin sets no TCP_NODELAY: the body waits for the peer's delayed acknowledgement, 40 ms
//! (docs/spin-nodelay.md has what was measured). So the head waits until the body is asked for.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use spin_sdk::http::{IntoRequest, IntoResponse};
use spin_sdk::wasip3::http::types::{self, ErrorCode};
use spin_sdk::wit_bindgen::yield_async;

/// How many turns a head waits at most. Two were always enough on Spin 4.1.
const MAX_TURNS: usize = 8;

/// `response` for the host, whose body is being written.
///
/// # Errors
///
/// When the SDK cannot make a response of it.
pub async fn response<B>(response: http::Response<B>) -> Result<types::Response, ErrorCode>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let begun = Begun::default();
    let response = response.map(|body| begun.watch(body)).into_response()?;
    begun.wait().await;
    Ok(response)
}

/// `request` for the host, whose body is being written.
///
/// # Errors
///
/// When the SDK cannot make a request of it.
pub async fn request<B>(request: http::Request<B>) -> Result<types::Request, ErrorCode>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let begun = Begun::default();
    let request = request.map(|body| begun.watch(body)).into_request()?;
    begun.wait().await;
    Ok(request)
}

/// Whether a body was asked for its first frame, which is written in the same turn.
#[derive(Clone, Default)]
struct Begun(Rc<Cell<bool>>);

impl Begun {
    fn watch<B>(&self, body: B) -> Watched<B> {
        Watched {
            body,
            begun: self.clone(),
        }
    }

    async fn wait(&self) {
        for _ in 0..MAX_TURNS {
            if self.0.get() {
                return;
            }
            yield_async().await;
        }
    }
}

/// A body that says when it was asked for.
struct Watched<B> {
    body: B,
    begun: Begun,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.begun.0.set(true);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
