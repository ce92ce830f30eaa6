//! A merchant's endpoint: takes deliveries and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use standardwebhooks::Webhook as Verifier;
use tokio::net::TcpSocket;

use super::Authority;

/// An endpoint on this machine, over plain HTTP where it has no certificate. It lives as long as
/// the tests.
pub struct Receiver {
    base: String,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its first line.
    pub line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// When all of it had come.
    pub at: Instant,
}

impl Received {
    /// A header that came exactly once.
    pub fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name}: {:?}", self.headers);
        values[0].to_str().unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// How many signatures it has.
    pub fn signatures(&self) -> usize {
        self.header("webhook-signature").split(' ').count()
    }

    /// Whether one of its signatures is by this `whsec_…` secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let verifier = Verifier::new(secret).expect("a secret");
        verifier.verify(&self.body, &self.headers).is_ok()
    }
}

impl Receiver {
    /// One that answers every request with this status and body.
    pub fn answering(status: &str, body: &[u8]) -> Self {
        Self::sending(answer(status, body))
    }

    /// One that answers every request with these bytes and closes.
    pub fn sending(answer: Vec<u8>) -> Self {
        let (listener, address) = listen();
        let base = format!("http://{address}");
        Self::start(base, listener, Some, move |stream| send(stream, &answer))
    }

    /// One that answers each request with the next of these, and then always with the last.
    pub fn answering_in_turn(answers: &[&[u8]]) -> Self {
        let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
        let next = Mutex::new(0);
        let (listener, address) = listen();
        let base = format!("http://{address}");
        Self::start(base, listener, Some, move |stream| {
            let mut next = next.lock().expect("not poisoned");
            send(stream, &answers[*next]);
            *next = (*next + 1).min(answers.len() - 1);
        })
    }

    /// One that reads every request and never answers.
    pub fn hanging() -> Self {
        Self::hanging_after(Vec::new())
    }

    /// One that answers every request with these bytes, and neither goes on nor closes.
    pub fn hanging_after(answer: Vec<u8>) -> Self {
        let held = Mutex::new(Vec::new());
        let (listener, address) = listen();
        let base = format!("http://{address}");
        Self::start(base, listener, Some, move |mut stream: TcpStream| {
            // The service may go first.
            let _ = stream.write_all(&answer);
            held.lock().expect("not poisoned").push(stream);
        })
    }

    /// One that answers every request with 200 and a body that never ends.
    pub fn endless() -> Self {
        let (listener, address) = listen();
        let base = format!("http://{address}");
        Self::start(base, listener, Some, |mut stream: TcpStream| {
            let mut part = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
            while stream.write_all(&part).is_ok() {
                part = vec![b'x'; 16];
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        })
    }

    /// One that answers no request until the sender is used or dropped.
    pub fn held(status: &str, body: &[u8]) -> (Self, Sender<()>) {
        let (release, released) = std::sync::mpsc::channel();
        let (listener, address) = listen();
        let base = format!("http://{address}");
        let answer = answer(status, body);
        let receiver = Self::start(base, listener, Some, move |stream| {
            let _ = released.recv();
            send(stream, &answer);
        });
        (receiver, release)
    }

    /// One that resets each connection: it closes without having read what came.
    pub fn resetting() -> Self {
        let (listener, address) = listen();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0]);
            }
        });
        Self {
            base: format!("http://{address}"),
            received: Arc::default(),
        }
    }

    /// One that answers over HTTPS, as `host`, by the authority's word.
    pub fn https(authority: &Authority, host: &str, status: &str, body: &[u8]) -> Self {
        Self::over_tls(authority.server_config(host), host, status, body)
    }

    /// One whose certificate, for `host` and by the authority's word, has expired.
    pub fn expired(authority: &Authority, host: &str) -> Self {
        Self::over_tls(authority.expired_server_config(host), host, "200 OK", b"")
    }

    fn over_tls(config: Arc<ServerConfig>, host: &str, status: &str, body: &[u8]) -> Self {
        let (listener, address) = listen();
        let base = format!("https://{host}:{}", address.port());
        let accept = move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).ok()?;
            Some(StreamOwned::new(connection, stream))
        };
        let answer = answer(status, body);
        Self::start(base, listener, accept, move |stream| send(stream, &answer))
    }

    fn start<S: Read + Write>(
        base: String,
        listener: TcpListener,
        accept: impl Fn(TcpStream) -> Option<S> + Send + 'static,
        answer: impl Fn(S) + Send + 'static,
    ) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten().filter_map(accept) {
                if let Some(request) = read(&mut stream) {
                    log.lock().expect("not poisoned").push(request);
                    answer(stream);
                }
            }
        });
        Self { base, received }
    }

    /// The URL of its endpoint.
    pub fn url(&self) -> String {
        format!("{}/hooks?from=test", self.base)
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

/// Where nobody listens, nor will while the tests run: at a port that was merely free, the receiver of another
/// test would get what is attempted there again.
pub fn closed_port() -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(anywhere).expect("a port");
    let address = socket.local_addr().expect("an address");
    // What is bound and does not listen refuses connections, and keeps its port.
    std::mem::forget(socket);
    address
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// The bytes of an answer.
pub fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn send(mut stream: impl Write, answer: &[u8]) {
    // Who has read enough may have closed.
    let _ = stream.write_all(answer).and_then(|()| stream.flush());
}

fn read(stream: &mut impl Read) -> Option<Received> {
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
        at: Instant::now(),
    })
}
