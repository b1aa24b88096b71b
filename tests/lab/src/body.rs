//! Sends the body of a response in chunks, paced and logged.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use parking_lot::Mutex;

use crate::content::Reader;
use crate::log::Entry;
use crate::shape::{Schedule, Shaper};

/// The body type of all responses.
pub(crate) type Body = StreamBody<Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>>;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    /// The connection is closed after so many bytes.
    CutAfter(u64),
    /// Headers, silence, then the connection is closed.
    Stall(Duration),
    /// Complete, but each byte only after so long.
    Drip(Duration),
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub reader: Reader,
    /// Position in the object of the next byte.
    pub offset: u64,
    pub remaining: u64,
    pub ending: Ending,
    pub shaper: Arc<Shaper>,
    pub schedule: Arc<Mutex<Schedule>>,
    pub entry: Entry,
}

/// Time for what was handed to the connection to leave it, before it is closed by an error.
const FLUSH: Duration = Duration::from_millis(20);

impl Outgoing {
    /// Turns it into the body of a response. Nothing left to send counts as sent.
    pub(crate) fn into_body(mut self) -> Body {
        if matches!(self.ending, Ending::CutAfter(bytes) if bytes >= self.remaining) {
            self.ending = Ending::Complete;
        }
        if self.remaining == 0 && self.ending == Ending::Complete {
            self.entry.finish();
            return StreamBody::new(Box::pin(futures::stream::empty()));
        }
        self.shaper.begin(&self.schedule);
        StreamBody::new(Box::pin(futures::stream::unfold(self, |mut outgoing| async {
            let item = outgoing.next().await?;
            Some((item.map(Frame::data), outgoing))
        })))
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let len = match self.ending {
            Ending::Complete | Ending::Drip(_) if self.remaining == 0 => return None,
            Ending::Complete => self.remaining,
            Ending::Drip(time) => {
                tokio::time::sleep(time).await;
                1
            }
            Ending::CutAfter(0) => return Some(Err(self.cut(FLUSH).await)),
            Ending::CutAfter(left) => left,
            Ending::Stall(time) => return Some(Err(self.cut(time).await)),
        };
        let len = len.min(self.shaper.chunk() as u64);
        let chunk = match self.reader.read(self.offset, len as usize).await {
            Ok(chunk) => chunk,
            Err(error) => {
                self.entry.finish();
                return Some(Err(error));
            }
        };
        self.shaper.pace(&self.schedule, chunk.len()).await;
        self.offset += len;
        self.remaining -= len;
        self.entry.sent(len);
        match &mut self.ending {
            Ending::CutAfter(left) => *left -= len,
            _ if self.remaining == 0 => self.entry.finish(),
            _ => {}
        }
        Some(Ok(chunk))
    }

    /// The error that makes the server close the connection.
    async fn cut(&mut self, after: Duration) -> io::Error {
        tokio::time::sleep(after).await;
        self.entry.finish();
        io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a fault")
    }
}
