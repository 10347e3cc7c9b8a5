//! A Redis server of a test's own: on a free port, in a folder of its own, ended by its process id.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A folder that goes with this value.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server, until it is dropped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    pub(crate) folder: Folder,
    port: String,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one; nothing, with a loud message, where there is no `redis-server`.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: no redis-server on this machine: apt-get install redis-server");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { folder: Folder::new("redis"), port, options, child: None };
        server.up();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    /// Starts it again, on the same port, with what its folder holds.
    pub(crate) fn up(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--port"]).arg(&self.port);
        command.arg("--dir").arg(&self.folder.0).args(&self.options);
        self.child = Some(command.stdout(Stdio::null()).spawn().unwrap());
        let start = Instant::now();
        while self.ask(&["PING"]).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it tells of itself.
    pub(crate) fn told(&self, section: &str) -> String {
        redis::from_redis_value(self.ask(&["INFO", section]).unwrap()).unwrap()
    }

    fn append_only_file(&self) -> PathBuf {
        let folder = fs::read_dir(self.folder.0.join("appendonlydir")).unwrap();
        let mut files = folder.map(|entry| entry.unwrap().path());
        files.find(|path| path.to_string_lossy().ends_with(".incr.aof")).unwrap()
    }

    /// Its append-only file, as it is now.
    pub(crate) fn appended(&self) -> Vec<u8> {
        fs::read(self.append_only_file()).unwrap()
    }

    /// Puts another one in its place, while it doesn't run.
    pub(crate) fn append_only(&self, bytes: &[u8]) {
        fs::write(self.append_only_file(), bytes).unwrap();
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends one command, on a connection of its own.
    pub(crate) fn ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query(&mut connection)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
