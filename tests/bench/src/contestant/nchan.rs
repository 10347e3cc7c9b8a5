//! nginx with the module nchan, set up for speed: two workers, connections that live long, everything in memory.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidegate_tests::folder::Folder;
use tidegate_tests::process::{Kind, Process, free_address};
use tidegate_tests::tools;

use crate::usage::children;

/// To start and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx.
#[derive(Debug)]
pub(crate) struct Nchan {
    /// Where it serves streams and is published to.
    pub(crate) address: SocketAddr,
    process: Process,
    _folder: Folder,
}

impl Nchan {
    /// Starts one.
    ///
    /// # Errors
    /// It isn't installed or doesn't start.
    pub(crate) fn start() -> Result<Self> {
        let (folder, address) = (Folder::new("nginx")?, free_address()?);
        let path = folder.path().join("nginx.conf");
        fs::write(&path, configuration(&tools::nchan()?.display().to_string(), address)).context("write nginx.conf")?;
        let mut command = Command::new(tools::nginx()?);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&path).args(["-e", "error.log"]);
        let process = Process::start(&mut command, &folder.path().join("nginx.log"))?;
        let nchan = Self { address, process, _folder: folder };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() || nchan.processes()?.len() < 3 {
            ensure!(Instant::now() < until, "nginx doesn't start: {}", nchan.process.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nchan)
    }

    /// The master and its workers.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        let mut all = children(self.process.id())?;
        all.push(self.process.id());
        Ok(all)
    }
}

impl Drop for Nchan {
    fn drop(&mut self) {
        // Killed, the master would leave its workers behind.
        let _ = self.process.signal(Kind::SIGTERM);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && matches!(self.process.ended(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn configuration(module: &str, address: SocketAddr) -> String {
    format!(
        "load_module {module};
daemon off;
user root;
worker_processes 2;
worker_rlimit_nofile 12000;
pid nginx.pid;
events {{ worker_connections 11000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_body_in_single_buffer on;
  nchan_shared_memory_size 512M;
  nchan_message_timeout 1m;
  nchan_message_buffer_length 4000;
  server {{
    listen {address} backlog=4096;
    location ~ ^/pub/(.+)$ {{ nchan_publisher; nchan_channel_id $1; }}
    location ~ ^/sub/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; nchan_subscriber_first_message newest; }}
  }}
}}
"
    )
}
