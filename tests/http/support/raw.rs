//! Requests byte by byte, for those that a proper client cannot send. Blocking.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::{PATIENCE, Response, Server, contract};

impl Server {
    /// Sends these bytes on a connection of their own and reads the answer.
    ///
    /// They must ask for the connection to be closed.
    pub fn raw(&self, request: impl AsRef<[u8]>) -> Response {
        let response = exchange(self.address(), request.as_ref());
        contract::check(&response);
        response
    }
}

/// Sends a request that asks for the connection to be closed and reads the answer.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Response {
    let answer = try_exchange(address, request).unwrap_or_else(|e| panic!("no answer: {e}"));
    let shown = String::from_utf8_lossy(&answer);
    parse(&answer).unwrap_or_else(|| panic!("not an HTTP response: {shown}"))
}

/// As [`exchange`], of a server that may end meanwhile. Returns the bytes that came.
pub fn try_exchange(address: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Who refuses a request early may close before it has read all of it.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(answer),
    }
}

/// A whole response; `None` if these bytes are none.
pub fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let mut lines = std::str::from_utf8(&answer[..end]).ok()?.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(
            name.parse::<HeaderName>().ok()?,
            HeaderValue::from_str(value.trim()).ok()?,
        );
    }
    Some(Response {
        status,
        headers,
        text: String::from_utf8(answer[end + 4..].to_owned()).ok()?,
        is_to_head: false,
    })
}
