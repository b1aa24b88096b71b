//! A store in memory for unit tests, which answers as its script says and notes what it was asked.
//!
//! Times are those of tokio, so that they pass at once where a test has paused them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    ArchiveState, Body, Capabilities, ErrorKind, ListPage, ListRequest, ObjectMeta, Peeked, Result, Store, StoreError,
    Version,
};

/// What becomes of a request: how long its answer takes, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    wait: Duration,
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Answer {
    /// As it should be; of a body only the first bytes, then something else.
    Sent(u64, Rest),
    Failure(StoreError),
    Silence,
}

/// What comes after the first bytes of a body.
#[derive(Clone, Debug)]
pub(crate) enum Rest {
    Fails(ErrorKind),
    Stalls,
    /// A byte each time that so long has passed.
    Drips(Duration),
}

impl Step {
    /// All is as it should be.
    pub(crate) fn answers() -> Self {
        // No body is longer.
        Self::sends(u64::MAX, Rest::Stalls)
    }

    pub(crate) fn fails(kind: ErrorKind) -> Self {
        Self { wait: Duration::ZERO, answer: Answer::Failure(StoreError::new(kind, "scripted")) }
    }

    /// Asks to be left alone for so long.
    pub(crate) fn is_busy(time: Duration) -> Self {
        let error = StoreError { retry_after: Some(time), ..StoreError::new(ErrorKind::Throttled, "scripted") };
        Self { wait: Duration::ZERO, answer: Answer::Failure(error) }
    }

    /// There is no answer, ever.
    pub(crate) fn hangs() -> Self {
        Self { wait: Duration::ZERO, answer: Answer::Silence }
    }

    /// Of a body that is longer, only so many bytes come as they should.
    pub(crate) fn sends(count: u64, rest: Rest) -> Self {
        Self { wait: Duration::ZERO, answer: Answer::Sent(count, rest) }
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

/// What becomes of the next requests, one after the other, and of those beyond.
#[derive(Debug)]
struct Script {
    next: VecDeque<Step>,
    beyond: Step,
}

impl Default for Script {
    fn default() -> Self {
        Self { next: VecDeque::new(), beyond: Step::answers() }
    }
}

impl Script {
    fn step(&mut self) -> Step {
        self.next.pop_front().unwrap_or_else(|| self.beyond.clone())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Touch,
    List,
    Head,
    Peek,
    Get,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) op: Op,
    /// Of a GET or a peek; else empty.
    pub(crate) range: Range<u64>,
    /// The version that a GET was for.
    pub(crate) version: Version,
    pub(crate) at: Instant,
}

/// A store in memory.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    objects: Mutex<BTreeMap<String, ObjectMeta>>,
    /// Where every other key is an object, too: its size.
    every: Option<u64>,
    script: Mutex<Script>,
    /// Connections are opened whenever there is an occasion, and take no step of other requests.
    touches: Mutex<Script>,
    /// Each answer comes so long after the one before, as on a line that they share.
    line: Option<Duration>,
    free: Mutex<Option<Instant>>,
    asked: Mutex<Vec<Asked>>,
}

/// The version of all objects that were not put.
const VERSION: &str = "\"v\"";

/// The bytes of all objects. No power of two is a multiple of their period, so that a wrong place shows.
pub(crate) fn content(range: Range<u64>) -> Bytes {
    range.map(byte).collect()
}

fn byte(position: u64) -> u8 {
    (position % 251) as u8
}

/// An object as it is told of where every key is one.
pub(crate) fn object(key: &str, size: u64) -> ObjectMeta {
    ObjectMeta {
        key: key.to_owned(),
        size,
        last_modified: SystemTime::UNIX_EPOCH,
        version: Version { etag: Some(VERSION.into()), id: None },
        storage_class: None,
    }
}

impl Scripted {
    /// One in which every key is an object of this size. No listing has them.
    pub(crate) fn of_size(size: u64) -> Self {
        Self { every: Some(size), ..Self::default() }
    }

    /// The same where answers share a line.
    pub(crate) fn on_line(self, line: Duration) -> Self {
        Self { line: Some(line), ..self }
    }

    pub(crate) fn put(&self, object: ObjectMeta) {
        self.objects.lock().insert(object.key.clone(), object);
    }

    /// What becomes of the next requests.
    pub(crate) fn next(&self, steps: impl IntoIterator<Item = Step>) {
        self.script.lock().next.extend(steps);
    }

    /// Forgets what was to become of the next requests.
    pub(crate) fn forget_next(&self) {
        self.script.lock().next.clear();
    }

    /// What becomes of all requests for which nothing else was said.
    pub(crate) fn always(&self, step: Step) {
        self.script.lock().beyond = step;
    }

    /// What becomes of requests that open connections.
    pub(crate) fn touches(&self, next: impl IntoIterator<Item = Step>, beyond: Step) {
        *self.touches.lock() = Script { next: next.into_iter().collect(), beyond };
    }

    /// What it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// How many requests of a kind it was sent.
    pub(crate) fn count(&self, op: Op) -> usize {
        self.asked.lock().iter().filter(|asked| asked.op == op).count()
    }

    /// What it was asked since this was called.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock())
    }

    /// Notes a request, and waits for the beginning of its answer. How many bytes of it come, and what then.
    async fn ask(&self, op: Op, range: Range<u64>, version: &Version) -> Result<(u64, Rest)> {
        self.asked.lock().push(Asked { op, range, version: version.clone(), at: Instant::now() });
        let Step { wait, answer } = match op {
            Op::Touch => self.touches.lock().step(),
            Op::List | Op::Head | Op::Peek | Op::Get => self.script.lock().step(),
        };
        let mut due = Instant::now() + wait;
        if let Some(line) = self.line {
            let mut free = self.free.lock();
            due = free.map_or(due, |free| free.max(due)) + line;
            *free = Some(due);
        }
        tokio::time::sleep_until(due).await;
        match answer {
            Answer::Sent(count, rest) => Ok((count, rest)),
            Answer::Failure(error) => Err(error),
            Answer::Silence => std::future::pending().await,
        }
    }

    fn object(&self, key: &str) -> Result<ObjectMeta> {
        let put = self.objects.lock().get(key).cloned();
        let found = put.or_else(|| self.every.map(|size| object(key, size)));
        found.ok_or_else(|| StoreError::new(ErrorKind::NotFound, format!("{key}: not in the script")))
    }
}

/// The bytes of a range, as far as they come, and what comes then.
fn body(range: Range<u64>, count: u64, rest: Rest) -> BoxStream<'static, Result<Bytes>> {
    let end = range.start.saturating_add(count).min(range.end);
    let sent = content(range.start..end);
    let sent = futures::stream::iter((!sent.is_empty()).then_some(Ok(sent)));
    if end == range.end {
        return sent.boxed();
    }
    let rest = match rest {
        Rest::Fails(kind) => futures::stream::iter([Err(StoreError::new(kind, "scripted"))]).boxed(),
        Rest::Stalls => futures::stream::pending().boxed(),
        Rest::Drips(time) => futures::stream::iter(end..range.end)
            .then(move |position| async move {
                tokio::time::sleep(time).await;
                Ok(Bytes::copy_from_slice(&[byte(position)]))
            })
            .boxed(),
    };
    sent.chain(rest).boxed()
}

#[async_trait]
impl Store for Scripted {
    fn id(&self) -> &str {
        "scripted://here/bucket"
    }

    fn url(&self, key: &str) -> String {
        format!("scripted://bucket/{key}")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { ordered_listings: true, conditional_get: true, ..Capabilities::default() }
    }

    async fn touch(&self) -> Result<()> {
        self.ask(Op::Touch, 0..0, &Version::default()).await.map(drop)
    }

    /// With the last name of a page as its token.
    async fn list(&self, request: &ListRequest) -> Result<ListPage> {
        self.ask(Op::List, 0..0, &Version::default()).await?;
        let objects = self.objects.lock();
        let mut names: BTreeMap<String, Option<&ObjectMeta>> = BTreeMap::new();
        for (key, object) in objects.range(request.prefix.clone()..) {
            let Some(rest) = key.strip_prefix(&request.prefix) else { break };
            match rest.find('/').filter(|_| request.delimited) {
                Some(slash) => names.insert(key[..=request.prefix.len() + slash].to_owned(), None),
                None => names.insert(key.clone(), Some(object)),
            };
        }
        let mut page = ListPage::default();
        let after = request.continuation.as_ref();
        let mut rest = names.into_iter().filter(|(name, _)| after.is_none_or(|after| name > after)).peekable();
        for (name, object) in rest.by_ref().take(request.max_keys.into()) {
            page.continuation = Some(name.clone());
            match object {
                Some(object) => page.objects.push(object.clone()),
                None => page.prefixes.push(name),
            }
        }
        page.continuation.take_if(|_| rest.peek().is_none());
        Ok(page)
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        self.ask(Op::Head, 0..0, &Version::default()).await?;
        self.object(key)
    }

    async fn archive(&self, object: &ObjectMeta) -> Result<Option<ArchiveState>> {
        self.ask(Op::Head, 0..0, &object.version).await?;
        Ok(object.is_archived().then_some(ArchiveState::Archived))
    }

    async fn peek(&self, key: &str, len: u64) -> Result<Peeked> {
        let (count, rest) = self.ask(Op::Peek, 0..len, &Version::default()).await?;
        let object = self.object(key)?;
        let head = Body { version: object.version.clone(), stream: body(0..len.min(object.size), count, rest) };
        Ok(Peeked { object, head })
    }

    async fn get(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Body> {
        let (count, rest) = self.ask(Op::Get, range.clone(), &object.version).await?;
        let now = self.object(&object.key)?;
        if object.version.etag.is_some() && object.version != now.version {
            return Err(StoreError::new(ErrorKind::VersionChanged, "another version"));
        }
        Ok(Body { version: now.version, stream: body(range, count, rest) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_is_listed_in_pages() {
        let store = Scripted::default();
        for key in ["d/a", "d/b/c", "d/b/d", "e"] {
            store.put(object(key, 1));
        }
        let mut request = ListRequest { prefix: "d/".to_owned(), delimited: true, max_keys: 1, continuation: None };
        let first = store.list(&request).await.unwrap();
        request.continuation = first.continuation;
        let second = store.list(&request).await.unwrap();
        assert_eq!((first.objects, second.prefixes), (vec![object("d/a", 1)], vec!["d/b/".to_owned()]));
        assert_eq!((second.continuation, store.count(Op::List)), (None, 2));
        assert_eq!(store.head("d").await.unwrap_err().kind, ErrorKind::NotFound);
    }
}
