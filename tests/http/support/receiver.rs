//! A merchant's endpoint: takes deliveries and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// An endpoint on this machine, over plain HTTP. It lives as long as the tests.
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its first line.
    pub line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Received {
    /// A header that came exactly once.
    pub fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name}: {:?}", self.headers);
        values[0].to_str().unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

impl Receiver {
    /// One that answers every request with this status and body.
    pub fn answering(status: &str, body: &[u8]) -> Self {
        let length = body.len();
        let mut answer =
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.extend_from_slice(body);
        Self::sending(answer)
    }

    /// One that answers every request with these bytes and closes.
    pub fn sending(answer: Vec<u8>) -> Self {
        Self::start(move |mut stream| {
            // Who has read enough may have closed.
            let _ = stream.write_all(&answer);
        })
    }

    /// One that reads every request and never answers.
    pub fn hanging() -> Self {
        let held = Mutex::new(Vec::new());
        Self::start(move |stream| held.lock().expect("not poisoned").push(stream))
    }

    fn start(answer: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(request) = read(&stream) {
                    log.lock().expect("not poisoned").push(request);
                    answer(stream);
                }
            }
        });
        Self { address, received }
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/hooks?from=test", self.address)
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }

    /// What came last.
    pub fn last(&self) -> Received {
        self.received().pop().expect("a request")
    }
}

fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = HeaderMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        headers.append(
            name.parse::<HeaderName>().ok()?,
            HeaderValue::from_str(value.trim()).ok()?,
        );
    }
    let length = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        line: line.trim_end().to_owned(),
        headers,
        body,
    })
}
