//! Responses: their status and headers, and a body that is text, or lines that are written while
//! they are sent.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use http_body::{Frame, SizeHint};
use serde::Serialize;

use crate::fault::Fault;
use crate::json;

/// A response.
pub type Response = http::Response<Body>;

/// A response's body.
pub enum Body {
    /// It is small, and there before its first byte is sent: merchants get no other.
    Text(String),
    /// It is written while it is sent, for as long as its work takes.
    Lines(Lines),
}

impl Default for Body {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Body {
    /// The text of a body that is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Lines(_) => None,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Text(text) => Pin::new(text).poll_frame(context),
            Self::Lines(lines) => {
                let lines = lines.poll(context);
                lines.map(|lines| lines.map(|lines| Ok(Frame::data(lines))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_end_stream(),
            Self::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => http_body::Body::size_hint(text),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}

/// Work that writes lines.
///
/// Whoever sends the body drives the work: nothing wakes another task, which the requests of one
/// instance must not do (ARCHITECTURE.md), and a client that goes away ends the work at its next
/// line.
pub struct Lines {
    /// `None`: it is done.
    work: Option<Pin<Box<dyn Future<Output = ()>>>>,
    written: Writer,
}

/// Where the work of [`lines`] writes.
#[derive(Clone, Default)]
pub struct Writer(Rc<RefCell<String>>);

impl Writer {
    /// Writes a line of JSON.
    pub fn line(&self, line: &impl Serialize) {
        let line = serde_json::to_string(line).expect("lines have string keys and finite numbers");
        let mut written = self.0.borrow_mut();
        written.push_str(&line);
        written.push('\n');
    }

    /// Waits until the lines so far are on their way.
    pub async fn flush(&self) {
        // Nobody needs to wake this: a body is polled again once its last frame was taken.
        poll_fn(|_| match self.0.borrow().is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl Lines {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(work) = &mut self.work
            && work.as_mut().poll(context).is_ready()
        {
            self.work = None;
        }
        let written = self.written.0.take();
        match (written.is_empty(), &self.work) {
            (false, _) => Poll::Ready(Some(written.into())),
            (true, None) => Poll::Ready(None),
            (true, Some(_)) => Poll::Pending,
        }
    }
}

/// 200: a response of JSON lines (`application/x-ndjson`), which `work` writes while it is sent.
pub fn lines<F: Future<Output = ()> + 'static>(work: impl FnOnce(Writer) -> F) -> Response {
    let written = Writer::default();
    let mut response = Response::new(Body::Lines(Lines {
        work: Some(Box::pin(work(written.clone()))),
        written,
    }));
    let media_type = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// A response with a JSON body.
///
/// # Errors
///
/// [`Fault::Internal`] when the body cannot be written as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Fault> {
    Ok(json_text(status, json::write(body)?))
}

/// A response with a body that is JSON already.
pub fn json_text(status: StatusCode, body: String) -> Response {
    text(status, "application/json", body)
}

/// A response with a text of this media type.
pub fn text(status: StatusCode, media_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// A response without a body: 204 or 304.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// A redirection to a path of ours, without a body; `None` when the path cannot be a header's value.
pub fn redirect(status: StatusCode, path: &str) -> Option<Response> {
    let path = HeaderValue::from_bytes(path.as_bytes()).ok()?;
    let mut response = Response::default();
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, path);
    Some(response)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;
    use crate::runtime::{simulation, sleep};

    async fn frame(body: &mut Body) -> Option<String> {
        let frame = body.frame().await?.unwrap_or_else(|never| match never {});
        let data = frame.into_data().expect("there are no trailers");
        Some(String::from_utf8(data.into()).expect("UTF-8"))
    }

    #[test]
    fn lines_are_sent_as_the_work_comes_to_them() {
        let response = lines(|writer| async move {
            for number in 0..2 {
                writer.line(&json!({ "number": number }));
                writer.line(&json!({}));
                sleep(std::time::Duration::from_secs(60)).await;
            }
            writer.line(&json!("done"));
        });
        assert_eq!(response.headers()[CONTENT_TYPE], "application/x-ndjson");
        let mut body = response.into_body();
        simulation::run(async {
            assert_eq!(
                frame(&mut body).await.as_deref(),
                Some("{\"number\":0}\n{}\n")
            );
            assert_eq!(
                frame(&mut body).await.as_deref(),
                Some("{\"number\":1}\n{}\n")
            );
            assert_eq!(frame(&mut body).await.as_deref(), Some("\"done\"\n"));
            assert_eq!(frame(&mut body).await, None);
            assert_eq!(frame(&mut body).await, None);
        });
    }

    #[test]
    fn what_follows_a_flush_happens_after_the_lines_were_taken() {
        let happened = Rc::new(RefCell::new(false));
        let noted = happened.clone();
        let response = lines(|writer| async move {
            writer.line(&json!("before"));
            writer.flush().await;
            *noted.borrow_mut() = true;
        });
        let mut body = response.into_body();
        let first = frame(&mut body)
            .now_or_never()
            .expect("it waits for nobody");
        assert_eq!(first.as_deref(), Some("\"before\"\n"));
        assert!(!*happened.borrow());
        assert_eq!(frame(&mut body).now_or_never(), Some(None));
        assert!(*happened.borrow());
    }
}
