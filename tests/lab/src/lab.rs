//! The handle by which a test starts, fills, disturbs and questions the server.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::access::Access;
use crate::bucket::{Archive, Buckets, Listed, Object, Restoration, scan, whole_seconds};
use crate::content::Content;
use crate::fault::{Fault, Faults};
use crate::line::Beyond;
use crate::log::{Log, Request};
use crate::server::Server;
use crate::service::Service;
use crate::shape::{Shape, Shaper};

/// Settings of a server that is not started yet.
#[derive(Debug)]
pub struct Builder {
    credentials: Option<BTreeMap<String, String>>,
    region: String,
    port: u16,
    shape: Shape,
    log_file: Option<File>,
    tls: bool,
}

impl Builder {
    /// Demands signatures and accepts those of this key (may be said several times).
    pub fn credentials(mut self, access_key: &str, secret: &str) -> Builder {
        self.credentials.get_or_insert_default().insert(access_key.into(), secret.into());
        self
    }

    /// Accepts everything, signed or not, without a look at signatures. This is the default.
    pub fn anonymous(mut self) -> Builder {
        self.credentials = None;
        self
    }

    /// The region of the server; us-east-1 unless told.
    pub fn region(mut self, region: &str) -> Builder {
        self.region = region.into();
        self
    }

    /// The port; a free one unless told.
    pub fn port(mut self, port: u16) -> Builder {
        self.port = port;
        self
    }

    /// The shape from the start.
    pub fn shape(mut self, shape: Shape) -> Builder {
        self.shape = shape;
        self
    }

    /// Writes each finished request to this file, as a line of JSON.
    pub fn log_file(mut self, file: File) -> Builder {
        self.log_file = Some(file);
        self
    }

    /// Speaks HTTPS, with a certificate that only [`crate::CA`] vouches for.
    pub fn tls(mut self) -> Builder {
        self.tls = true;
        self
    }

    /// Starts the server on a thread and a runtime of its own.
    pub fn start(self) -> io::Result<Lab> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let access = Access { credentials: self.credentials, region: self.region };
        let server = Arc::new(Server {
            service: Service { buckets: Buckets::default(), access },
            shaper: Arc::new(Shaper::new(self.shape)),
            faults: Mutex::new(Faults::default()),
            log: Arc::new(Log::new(self.log_file)),
            connections: AtomicU64::new(0),
            line: Arc::default(),
            tls: self.tls.then(crate::tls::config).transpose()?,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fitsfs-lab")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let accepting = Arc::clone(&server);
        let thread = std::thread::Builder::new().name("fitsfs-lab".into()).spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener just bound");
                tokio::select! {
                    () = accepting.accept(listener) => {}
                    _ = stopped => {}
                }
            });
            // Ends all connections; only a read of a file could keep it, and not for long.
            runtime.shutdown_timeout(Duration::from_secs(2));
        })?;
        Ok(Lab { server, address, running: Some((stop, thread)) })
    }
}

/// A running S3 server on the loopback interface. Dropping it stops it.
#[derive(Debug)]
pub struct Lab {
    server: Arc<Server>,
    address: SocketAddr,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Lab {
    /// A server to be configured.
    pub fn builder() -> Builder {
        let (region, shape) = ("us-east-1".into(), Shape::default());
        Builder { credentials: None, region, port: 0, shape, log_file: None, tls: false }
    }

    /// `http://127.0.0.1:PORT`, for path-style addressing; with TLS `https://localhost:PORT`.
    pub fn endpoint(&self) -> String {
        match self.server.tls {
            None => format!("http://{}", self.address),
            Some(_) => format!("https://localhost:{}", self.address.port()),
        }
    }

    /// How many connections have come.
    pub fn connections(&self) -> u64 {
        self.server.connections.load(Ordering::Relaxed)
    }

    /// The port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Makes an empty bucket; [`Lab::put`] makes buckets too.
    pub fn create_bucket(&self, bucket: &str) {
        self.server.service.buckets.edit(bucket, |_| ());
    }

    /// Puts or replaces an object and returns its ETag, with quotes. Last-Modified is now; of a file, the file's.
    ///
    /// # Panics
    /// If the content is a file that cannot be read.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Content>) -> String {
        let object = Object::new(content.into()).unwrap_or_else(|error| panic!("put {bucket}/{key}: {error}"));
        let etag = object.etag.clone();
        self.server.service.buckets.edit(bucket, |b| b.insert(key.into(), Arc::new(object)));
        etag
    }

    /// The bucket keeps versions from now on.
    pub fn keep_versions(&self, bucket: &str) {
        self.server.service.buckets.edit(bucket, |b| b.keep_versions());
    }

    /// Puts or replaces an object as of a time (whole seconds), which is its Last-Modified.
    ///
    /// # Panics
    /// If the content is a file that cannot be read.
    pub fn put_at(&self, bucket: &str, key: &str, content: impl Into<Content>, time: SystemTime) {
        let object = Object::new(content.into()).unwrap_or_else(|error| panic!("put {bucket}/{key}: {error}"));
        let object = Object { last_modified: whole_seconds(time), ..object };
        self.server.service.buckets.edit(bucket, |b| b.insert(key.into(), Arc::new(object)));
    }

    /// Removes an object as of a time (whole seconds), which is that of its delete marker; whether there was one.
    pub fn delete_at(&self, bucket: &str, key: &str, time: SystemTime) -> bool {
        self.server.service.buckets.edit(bucket, |b| b.remove(key, whole_seconds(time)))
    }

    /// Puts every regular file below `dir` by its relative path, and returns how many.
    ///
    /// # Panics
    /// If the folder cannot be read.
    pub fn put_dir(&self, bucket: &str, dir: impl AsRef<Path>) -> usize {
        let dir = dir.as_ref();
        let objects = scan(dir).unwrap_or_else(|error| panic!("put {}: {error}", dir.display()));
        let count = objects.len();
        self.server.service.buckets.edit(bucket, |b| b.objects.extend(objects));
        count
    }

    /// Puts many small objects at once: quicker than one by one for a hundred thousand keys.
    pub fn put_many(&self, bucket: &str, keys: impl IntoIterator<Item = String>, content: impl Into<Content>) {
        let object = Arc::new(Object::new(content.into()).unwrap_or_else(|error| panic!("put {bucket}: {error}")));
        let objects = keys.into_iter().map(|key| (key, Arc::clone(&object)));
        self.server.service.buckets.edit(bucket, |b| b.objects.extend(objects));
    }

    /// Replaces all buckets by the folders directly below `root`, keeping what was set for buckets that stay.
    pub fn serve_root(&self, root: impl AsRef<Path>) -> io::Result<()> {
        let mut buckets = BTreeMap::new();
        for entry in std::fs::read_dir(root)? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
                buckets.insert(name, scan(&entry.path())?);
            }
        }
        self.server.service.buckets.replace_all(buckets);
        Ok(())
    }

    /// Removes an object; whether there was one.
    pub fn delete(&self, bucket: &str, key: &str) -> bool {
        self.delete_at(bucket, key, SystemTime::now())
    }

    /// Sets Last-Modified (whole seconds).
    ///
    /// # Panics
    /// If there is no such object.
    pub fn set_last_modified(&self, bucket: &str, key: &str, time: SystemTime) {
        self.change(bucket, key, |object| object.last_modified = whole_seconds(time));
    }

    /// Sets the storage class. GLACIER and DEEP_ARCHIVE cannot be read.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn set_storage_class(&self, bucket: &str, key: &str, class: &str) {
        self.change(bucket, key, |object| object.storage_class = class.into());
    }

    /// Puts the object into an archive tier of its class, INTELLIGENT_TIERING, which only HEAD tells of.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn set_archive_status(&self, bucket: &str, key: &str, status: &str) {
        self.change(bucket, key, |object| {
            object.storage_class = "INTELLIGENT_TIERING".into();
            object.archive = Archive { status: Some(status.into()), ..Archive::default() };
        });
    }

    /// Ends the restoration of an object: a copy of an archive class is there until this time, and what was in a tier of
    /// Intelligent-Tiering is out of it.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn finish_restore(&self, bucket: &str, key: &str, until: SystemTime) {
        self.change(bucket, key, |object| match object.archive.status.take() {
            Some(_) => object.archive.restoration = Restoration::None,
            None => object.archive.restoration = Restoration::Done(until),
        });
    }

    /// The document of the last request to restore an object.
    pub fn restore_request(&self, bucket: &str, key: &str) -> Option<String> {
        self.server.service.buckets.object(bucket, key)?.archive.request.clone()
    }

    /// Stores a Content-Encoding with the object, as uploads of compressed files may; its bytes stay what they are.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn set_content_encoding(&self, bucket: &str, key: &str, encoding: &str) {
        self.change(bucket, key, |object| object.content_encoding = Some(encoding.into()));
    }

    /// Sets what listings say of the object instead of the truth.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn set_listed(&self, bucket: &str, key: &str, listed: Listed) {
        self.change(bucket, key, |object| object.listed = listed);
    }

    fn change(&self, bucket: &str, key: &str, f: impl FnOnce(&mut Object)) {
        self.server.service.buckets.edit(bucket, |b| {
            let object = b.objects.get_mut(key).unwrap_or_else(|| panic!("no object {bucket}/{key}"));
            f(Arc::make_mut(object));
            let changed = object.clone();
            b.changed(key, changed);
        });
    }

    /// Listing is forbidden: 403 for it and for missing keys; GET and HEAD of existing keys work.
    pub fn deny_list(&self, bucket: &str) {
        self.server.service.buckets.edit(bucket, |b| b.deny_list = true);
    }

    /// Requests without `x-amz-request-payer: requester` are refused, and so are anonymous ones.
    pub fn requester_pays(&self, bucket: &str) {
        self.server.service.buckets.edit(bucket, |b| b.requester_pays = true);
    }

    /// The bucket is in this region: requests signed for the server's region get 301 PermanentRedirect, those signed
    /// for a third one 400 AuthorizationHeaderMalformed, both with `x-amz-bucket-region`.
    pub fn bucket_region(&self, bucket: &str, region: &str) {
        self.server.service.buckets.edit(bucket, |b| b.region = Some(region.into()));
    }

    /// Anyone may read the bucket without a signature, on a server that demands them.
    pub fn public(&self, bucket: &str) {
        self.server.service.buckets.edit(bucket, |b| b.public = true);
    }

    /// All requests since the start or the last clear, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.server.log.requests()
    }

    /// How many requests the filter takes.
    pub fn count(&self, filter: impl Fn(&Request) -> bool) -> usize {
        self.server.log.count(filter)
    }

    /// Waits until the filter takes at least so many requests. It blocks the thread: in an async test of one thread, let
    /// the client run on another.
    ///
    /// # Panics
    /// If that does not happen within ten seconds.
    pub fn wait_for(&self, at_least: usize, filter: impl Fn(&Request) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.count(&filter) < at_least {
            assert!(Instant::now() < deadline, "no {at_least} such requests among {:#?}", self.requests());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.server.log.clear();
    }

    /// Changes the shape from now on.
    pub fn shape(&self, shape: Shape) {
        self.server.shaper.set(shape);
    }

    /// No byte comes or goes any more by the connections that are open; later ones work.
    pub fn silence_connections(&self) {
        self.server.line.silence();
    }

    /// Serves no more connections at once than so many from now on, of those that come from now on.
    pub fn give_connections(&self, most: usize, beyond: Beyond) {
        self.server.line.give(Some((most, beyond)));
    }

    /// Adds a fault.
    pub fn fault(&self, fault: Fault) {
        self.server.faults.lock().add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.server.faults.lock().clear();
    }

    /// The faults that were added and have struck nowhere, removed or not: a test of them has tested nothing.
    pub fn idle_faults(&self) -> Vec<Fault> {
        self.server.faults.lock().idle()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}
