//! The machine and the versions of what was measured, in words.

use std::fs;
use std::process::Command;

use tidegate_tests::tools;

/// Cores, memory, processor and system.
pub(crate) fn words() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let processor = line("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unknown processor".to_owned());
    let memory = line("/proc/meminfo", "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim().to_owned();
    let gibibytes = memory.unwrap_or_default().div_ceil(1 << 20);
    format!("{cores} cores ({processor}), {gibibytes} GiB, Linux {kernel}; host, servers and client share them")
}

/// What took part, with versions.
pub(crate) fn versions() -> String {
    let told = |program: anyhow::Result<std::path::PathBuf>, flag: &str| {
        let done = program.ok().and_then(|path| Command::new(path).arg(flag).output().ok())?;
        let text = [done.stdout, done.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_owned())
    };
    let nats = told(tools::nats_server(), "--version").map(|text| text.replace(": v", " "));
    let redis = told(tools::redis_server(), "--version").map(|text| {
        let version = text.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or_default().to_owned();
        format!("redis-server {version}")
    });
    let nginx = told(tools::nginx(), "-v").map(|text| text.replace("nginx version: nginx/", "nginx "));
    let nchan = nchan().map(|version| format!("nchan {version}"));
    [nats, redis, nginx, nchan].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// As Debian calls its version.
fn nchan() -> Option<String> {
    let done = Command::new("dpkg-query").args(["-W", "-f=${Version}", "libnginx-mod-nchan"]).output().ok()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let version = text.rsplit(':').next()?.split('+').next()?.to_owned();
    (!version.is_empty()).then_some(version)
}

fn line(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(|rest| rest.trim().to_owned()))
}
