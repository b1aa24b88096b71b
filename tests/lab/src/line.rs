//! Faults of connections: those that fall silent, and servers that give few.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What becomes of connections beyond those that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// They wait until another ends.
    Wait,
    /// They are reset.
    Reset,
    /// They are answered with 503 and closed.
    Busy,
}

/// The connections of a server.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// How often the connections of that time have fallen silent.
    silenced: AtomicU64,
    given: Mutex<Option<(Arc<Semaphore>, Beyond)>>,
}

impl Line {
    /// Silences the connections that are open.
    pub(crate) fn silence(&self) {
        self.silenced.fetch_add(1, Ordering::SeqCst);
    }

    /// Serves so many of the connections to come at once; all of them unless told.
    pub(crate) fn give(&self, most: Option<(usize, Beyond)>) {
        *self.given.lock() = most.map(|(most, beyond)| (Arc::new(Semaphore::new(most)), beyond));
    }

    /// The connection as it is to be served, if it is.
    pub(crate) async fn serve(line: &Arc<Self>, mut stream: TcpStream) -> Option<Served> {
        let given = line.given.lock().clone();
        let turn = match given {
            None => None,
            Some((most, Beyond::Wait)) => Some(most.acquire_owned().await.ok()?),
            Some((most, beyond)) => match (most.try_acquire_owned(), beyond) {
                (Ok(turn), _) => Some(turn),
                (Err(_), Beyond::Busy) => {
                    let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    let mut request = [0; 4096];
                    let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    return None;
                }
                (Err(_), _) => {
                    let _ = stream.set_zero_linger();
                    return None;
                }
            },
        };
        let silenced = line.silenced.load(Ordering::SeqCst);
        Some(Served { stream, line: Arc::clone(line), silenced, _turn: turn })
    }
}

/// A connection that may fall silent.
#[derive(Debug)]
pub(crate) struct Served {
    stream: TcpStream,
    line: Arc<Line>,
    silenced: u64,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Served {
    /// Nobody wakes what waits for a silent connection: it is dropped with the server.
    fn if_heard<T>(&mut self, poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<T>) -> Poll<T> {
        let is_heard = self.line.silenced.load(Ordering::SeqCst) == self.silenced;
        if is_heard { poll(Pin::new(&mut self.stream)) } else { Poll::Pending }
    }
}

impl AsyncRead for Served {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.if_heard(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Served {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.if_heard(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.if_heard(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.if_heard(|stream| stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.if_heard(|stream| stream.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
