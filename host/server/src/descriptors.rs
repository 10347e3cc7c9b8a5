//! How many descriptors the process may open: each stream takes one, and so does everything else.

/// What the host needs beside its streams: servers, logs, stores, modules.
const OTHERS: u64 = 256;

/// Raises the limit as far as the system lets a process do that itself, and warns where it is too low for so many streams.
pub fn raise(connections_max: usize) {
    let wanted = (connections_max as u64).saturating_add(OTHERS);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "fewer descriptors may be open than limits.connections asks for; raise the limit (`ulimit -n`, `LimitNOFILE`) or \
             lower the key"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(error = %error, "the limit of open descriptors can't be raised"),
    }
}
