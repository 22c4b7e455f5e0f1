//! A store that does what a test says.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the store does with a request.
pub(super) enum Act {
    /// Sends these bytes, and takes the next request.
    Send(String),
    /// Sends these bytes and closes the connection.
    SendAndClose(String),
    /// Sends these bytes and then nothing more.
    SendAndHang(String),
    /// Sends these bytes, and then spaces for as long as the client reads.
    SendForever(String),
}

/// A store on loopback, which ends with this value.
pub(super) struct Server {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    sent: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts a store that does `acts` with its requests, one after the other, and hangs after that.
    pub(super) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acts: VecDeque<_> = acts.into_iter().collect();
        let acts = Arc::new(Mutex::new(acts));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::new(Mutex::new(0));
        let (asks, sends) = (Arc::clone(&asked), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acts, asks) = (Arc::clone(&acts), Arc::clone(&asks));
                let sends = Arc::clone(&sends);
                tokio::spawn(async move { serve(stream, &acts, &asks, &sends).await });
            }
        });
        Self {
            port,
            asked,
            sent,
            task,
        }
    }

    /// Returns the requests with their bodies, without those that are not complete.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Returns how many bytes were sent without end.
    pub(super) fn sent_forever(&self) -> usize {
        *self.sent.lock().unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    acts: &Mutex<VecDeque<Act>>,
    asked: &Mutex<Vec<String>>,
    sent: &Mutex<usize>,
) {
    while let Some(request) = read_request(&mut stream).await {
        asked.lock().unwrap().push(request);
        let act = acts.lock().unwrap().pop_front();
        let (text, then) = match act {
            None => (String::new(), "hang"),
            Some(Act::Send(text)) => (text, ""),
            Some(Act::SendAndClose(text)) => (text, "close"),
            Some(Act::SendAndHang(text)) => (text, "hang"),
            Some(Act::SendForever(text)) => (text, "forever"),
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        match then {
            "close" => return,
            "hang" => std::future::pending().await,
            "forever" => {
                let spaces = vec![b' '; 16 << 10];
                while stream.write_all(&spaces).await.is_ok() {
                    *sent.lock().unwrap() += spaces.len();
                }
                return;
            }
            _ => {}
        }
    }
}

/// Reads a request; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let byte = stream.read_u8().await.ok()?;
        bytes.push(byte);
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = lengths
        .next()
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

/// Returns an answer.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// Returns an answer with an error code of S3.
pub(super) fn error(status: u16, code: &str) -> String {
    answer(
        status,
        "",
        &format!("<Error><Code>{code}</Code><Message>m</Message></Error>"),
    )
}

/// Returns a list of files in `backups/b/`.
pub(super) fn list(files: &[(&str, u64)]) -> String {
    let mut body = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
    for (name, size) in files {
        let _ = write!(
            body,
            "<Contents><Key>backups/b/{name}</Key><Size>{size}</Size><ETag>e</ETag>\
             <LastModified>2026-11-28T19:11:01.000Z</LastModified></Contents>"
        );
    }
    answer(
        200,
        "Date: Sat, 28 Nov 2026 19:11:02 GMT\r\n",
        &(body + "</ListBucketResult>"),
    )
}
