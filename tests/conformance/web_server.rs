//! Web servers that are installed here, each started for one test.

use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

/// A server that has just been started answers within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server and the folder that it shows. It ends with the test.
pub struct Server {
    pub folder: Arc<Folder>,
    port: u16,
    process: Child,
}

/// A folder of files.
pub struct Folder {
    dir: TempDir,
    written: AtomicU64,
}

impl Folder {
    /// The file of a key.
    pub fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join("files").join(key)
    }

    /// Puts a file there. Each has a time of its own, which is not of a moment ago: else the store has to wait until it is.
    pub fn write(&self, key: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.path(key);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let modified = SystemTime::now() - Duration::from_secs(1_000_000 - number);
        fs::create_dir_all(path.parent().unwrap())?;
        // In one step, as servers of archives replace files.
        let new = self.dir.path().join("new");
        fs::write(&new, bytes)?;
        File::options().append(true).open(&new)?.set_modified(modified)?;
        fs::rename(new, path)
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

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// nginx with these lines for the folder, and those before all.
pub fn nginx(first: &str, location: &str) -> Option<Server> {
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
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Apache with these modules beside those that it needs, and these lines for the folder.
pub fn apache(modules: &[&str], folder: &str) -> Option<Server> {
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
