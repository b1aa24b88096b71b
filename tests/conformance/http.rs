//! Web servers that are installed here, with each kind of index that they have.

use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use fitsfs::store::{self, ListRequest, SourceUrl, Store, StoreOptions};
use tempfile::TempDir;

use super::suite::{Contents, Subject};

/// A server that has just been started answers within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What no server of files can have.
const LACKS: &[(&str, &str)] = &[
    ("listing_groups_by_delimiter", "a file of a filesystem is no folder as well"),
    ("listing_is_in_order", "a file of a filesystem is no folder as well"),
    ("odd_keys_are_kept", "a file of a filesystem is no folder as well, and no name is empty"),
];

/// A server and the folder that it shows. It ends with the test.
struct Server {
    folder: Arc<Folder>,
    port: u16,
    process: Child,
}

/// A folder of files.
struct Folder {
    dir: TempDir,
    written: AtomicU64,
}

impl Folder {
    fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join("files").join(key)
    }
}

#[async_trait]
impl Contents for Arc<Folder> {
    /// Each file has a time of its own, which is not of a moment ago: else the store has to wait until it is. What a
    /// filesystem cannot have is not there, which the suite will find.
    async fn put(&self, key: &str, bytes: Vec<u8>) {
        let path = self.path(key);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let modified = SystemTime::now() - Duration::from_secs(1_000_000 - number);
        let _ = path.parent().map(fs::create_dir_all);
        // In one step, as servers of archives replace files.
        let new = self.dir.path().join("new");
        fs::write(&new, bytes).unwrap();
        File::options().append(true).open(&new).unwrap().set_modified(modified).unwrap();
        let _ = fs::rename(new, path);
    }

    async fn delete(&self, key: &str) {
        fs::remove_file(self.path(key)).unwrap();
    }

    async fn archive(&self, _key: &str) -> bool {
        false
    }
}

/// A program, if it is installed.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        fitsfs_lab::untested(&format!("there is no {name}"));
    }
    found
}

impl Server {
    /// Starts a program with a configuration file, made of the folder and the port.
    fn start(program: &Path, config: impl Fn(&Path, u16) -> String, arguments: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        for (folder, mode) in [("", 0o755), ("files", 0o755), ("locks", 0o777)] {
            let path = dir.path().join(folder);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = dir.path().join("server.conf");
        fs::write(&file, config(dir.path(), port)).unwrap();
        let log = File::create(dir.path().join("output")).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).stdout(log.try_clone().unwrap()).stderr(Stdio::from(log));
        let folder = Arc::new(Folder { dir, written: AtomicU64::new(0) });
        let mut server = Self { folder, port, process: command.spawn().unwrap() };
        server.wait();
        server
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.process.try_wait().unwrap();
            let said = || fs::read_to_string(self.folder.dir.path().join("output")).unwrap_or_default();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "{ended:?}: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn store(&self) -> Arc<dyn Store> {
        let source = SourceUrl::parse(&format!("http://127.0.0.1:{}", self.port)).unwrap();
        store::open(&source, &StoreOptions::default()).await.unwrap()
    }

    async fn conforms(&self) {
        Subject { store: self.store().await, contents: Box::new(self.folder.clone()), lacks: LACKS }.conforms().await;
        self.keeps_names().await;
    }

    /// What a filesystem can have of the odd keys of the suite.
    async fn keeps_names(&self) {
        const NAMES: [&str; 15] = [
            "a b",
            "a+b",
            "%41",
            "%2F",
            "é",
            "e\u{301}",
            "日本",
            "?q=1&r#f",
            "<&>\"'",
            " ",
            "trailing ",
            "*",
            "~",
            "a;b=c",
            "sub:x",
        ];
        for name in NAMES {
            self.folder.put(&format!("names/{name}"), name.as_bytes().to_vec()).await;
            self.folder.put(&format!("names/in {name}/x"), b"x".to_vec()).await;
        }
        let store = self.store().await;
        let request = ListRequest { prefix: "names/".to_owned(), delimited: true, max_keys: 1000, continuation: None };
        let page = store.list(&request).await.unwrap();
        let mut expected: Vec<_> = NAMES.iter().map(|name| format!("names/{name}")).collect();
        expected.sort();
        assert_eq!(page.objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(page.prefixes.len(), NAMES.len(), "{:?}", page.prefixes);
        for object in &page.objects {
            assert_eq!(store.head(&object.key).await.unwrap(), *object);
        }
        let flat = store.list(&ListRequest { delimited: false, ..request.clone() }).await.unwrap();
        assert_eq!(flat.objects.len(), 2 * NAMES.len());
        assert!(flat.objects.is_sorted_by(|a, b| a.key < b.key), "{:?}", flat.objects);
        for prefix in page.prefixes {
            let inner = store.list(&ListRequest { prefix: prefix.clone(), ..request.clone() }).await.unwrap();
            assert_eq!(inner.objects.len(), 1, "{prefix}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// nginx with these lines for the folder, and those before all.
fn nginx(first: &str, location: &str) -> Option<Server> {
    let program = installed("nginx")?;
    let config = |dir: &Path, port: u16| {
        let dir = dir.display();
        let user = if is_root() { "user root;" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {dir}/locks/{name};"))
            .concat();
        format!(
            "{first}\n{user}\ndaemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log stderr;\nevents {{}}\n\
             http {{ access_log off; {temporary} default_type application/octet-stream;\n\
             server {{ listen 127.0.0.1:{port}; root {dir}/files; location / {{ {location} }} }} }}\n"
        )
    };
    Some(Server::start(&program, config, &["-e", "stderr", "-c"]))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0)
}

/// Apache with these modules beside those that it needs, and these lines for the folder.
fn apache(modules: &[&str], folder: &str) -> Option<Server> {
    let program = installed("apache2")?;
    let config = |dir: &Path, port: u16| {
        let dir = dir.display();
        let load = |name: &&str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
        let modules: String = ["mpm_event", "authz_core", "dir"].iter().chain(modules).map(load).collect();
        let user = if is_root() { "User www-data\nGroup www-data" } else { "" };
        format!(
            "ServerRoot {dir}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {dir}/pid\n{user}\n\
             DefaultRuntimeDir {dir}/locks\nMutex file:{dir}/locks default\nErrorLog /dev/stderr\n{modules}\n\
             DocumentRoot {dir}/files\n<Directory {dir}/files>\nRequire all granted\n{folder}\n</Directory>\n\
             <IfModule dav_fs_module>\nDavLockDB {dir}/locks/dav\n</IfModule>\n"
        )
    };
    Some(Server::start(&program, config, &["-X", "-f"]))
}

#[tokio::test]
async fn nginx_with_json_conforms() {
    let Some(server) = nginx("", "autoindex on; autoindex_format json;") else { return };
    server.conforms().await;
}

#[tokio::test]
async fn nginx_with_links_conforms() {
    let Some(server) = nginx("", "autoindex on;") else { return };
    server.conforms().await;
}

#[tokio::test]
async fn nginx_with_webdav_conforms() {
    const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so";
    if !Path::new(MODULE).exists() {
        return fitsfs_lab::untested("nginx has no module for PROPFIND");
    }
    let Some(server) = nginx(&format!("load_module {MODULE};"), "dav_ext_methods PROPFIND;") else { return };
    server.conforms().await;
}

#[tokio::test]
async fn apache_with_links_conforms() {
    let Some(server) = apache(&["autoindex"], "Options +Indexes\nIndexOptions FancyIndexing") else { return };
    server.conforms().await;
}

#[tokio::test]
async fn apache_with_webdav_conforms() {
    let Some(server) = apache(&["dav", "dav_fs"], "Dav On") else { return };
    server.conforms().await;
}
