//! The usage of one volume: `statvfs` in a thread for each volume, with a timeout.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::args::AgentVolume;

/// A filesystem that does not respond within this time is reported as an error. The operator waits two seconds.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Enough for one system call and its error; the default for a thread is two MiB.
pub(super) const THREAD_STACK_BYTES: usize = 64 << 10;

/// The usage of a filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FilesystemUsage {
    all_bytes: u64,
    free_bytes: u64,
    available_bytes: u64,
    inodes: u64,
    inodes_free: u64,
    device: u64,
    /// Not a separate filesystem, but a directory of the node's disk or of the container image.
    shared: bool,
}

/// The result of a measurement; the error is the text that the response contains.
pub(super) type Measurement = Result<FilesystemUsage, String>;

/// A volume and the thread that measures it.
pub(super) struct Probe {
    volume: AgentVolume,
    exchange: Arc<Exchange>,
}

/// The requests and results that are exchanged with the thread.
#[derive(Default)]
struct Exchange {
    state: Mutex<ExchangeState>,
    changed: Condvar,
}

/// How many measurements were requested and completed: one that began before a request can be older than the request.
#[derive(Default)]
struct ExchangeState {
    requested: u64,
    completed: u64,
    last: Option<Measurement>,
}

impl Probe {
    /// Starts the thread, which runs as long as the process.
    pub(super) fn start(volume: AgentVolume) -> io::Result<Self> {
        let exchange = Arc::new(Exchange::default());
        let (shared, path) = (Arc::clone(&exchange), volume.path.clone());
        thread::Builder::new().stack_size(THREAD_STACK_BYTES).spawn(move || shared.serve(|| measure_path(&path)))?;
        Ok(Self { volume, exchange })
    }

    /// Requests a measurement and returns its number; [`Probe::result`] returns the result.
    pub(super) fn request(&self) -> u64 {
        self.exchange.request()
    }

    /// Waits for the result of a requested measurement, until `deadline` at the latest.
    pub(super) fn result(&self, requested: u64, deadline: Instant) -> Measurement {
        self.exchange.result(requested, deadline)
    }
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, ExchangeState> {
        // No code panics while it holds the lock, and the state is consistent between any two lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self) -> u64 {
        let mut state = self.state();
        state.requested += 1;
        self.changed.notify_all();
        state.requested
    }

    fn result(&self, requested: u64, deadline: Instant) -> Measurement {
        let mut state = self.state();
        while state.completed < requested {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the filesystem did not respond within {} s", PROBE_TIMEOUT.as_secs()));
            }
            state =
                self.changed.wait_timeout(state, left).map_or_else(|error| error.into_inner().0, |(state, _)| state);
        }
        state.last.clone().unwrap_or_else(|| Err("the filesystem was not measured".to_owned()))
    }

    fn serve(&self, measure: impl Fn() -> Measurement) -> ! {
        loop {
            let mut state = self.state();
            while state.completed == state.requested {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let requested = state.requested;
            drop(state);
            let measurement = measure();
            let mut state = self.state();
            (state.last, state.completed) = (Some(measurement), requested);
            self.changed.notify_all();
        }
    }
}

/// Measures the filesystem at a path.
fn measure_path(path: &Path) -> Measurement {
    let usage = usage(path).map_err(|error| format!("failed to get the usage of {}: {error}", path.display()))?;
    // In a container, / is the image, and /etc/hosts is a file of the kubelet on the node's disk. A volume with the device
    // *and* the size of one of them is a directory of it; a directory with its own quota has another size.
    let is_directory_of =
        |other: &str| self::usage(Path::new(other)).is_ok_and(|other| usage.is_same_filesystem(&other));
    Ok(FilesystemUsage { shared: is_directory_of("/") || is_directory_of("/etc/hosts"), ..usage })
}

fn usage(path: &Path) -> io::Result<FilesystemUsage> {
    let stat = rustix::fs::statvfs(path)?;
    // POSIX counts blocks in units of f_frsize; f_bsize is only the preferred size of a read.
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(FilesystemUsage {
        all_bytes: bytes(stat.f_blocks),
        free_bytes: bytes(stat.f_bfree),
        available_bytes: bytes(stat.f_bavail),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
        device: std::fs::metadata(path)?.dev(),
        shared: false,
    })
}

impl FilesystemUsage {
    fn is_same_filesystem(&self, other: &Self) -> bool {
        self.device == other.device && self.all_bytes == other.all_bytes
    }
}

/// The body of the response to `GET /disk`, and whether every volume was measured.
pub(super) fn measure(probes: &[Probe]) -> (bool, String) {
    // All measurements are requested before the first wait: the timeout is for the whole response.
    let requested: Vec<u64> = probes.iter().map(Probe::request).collect();
    let deadline = Instant::now() + PROBE_TIMEOUT;
    let results =
        probes.iter().zip(requested).map(|(probe, requested)| (&probe.volume, probe.result(requested, deadline)));
    let mut measured: Vec<(&AgentVolume, Measurement)> = results.collect();
    mark_shared(&mut measured);
    (measured.iter().all(|(_, measurement)| measurement.is_ok()), render(&measured))
}

/// Marks volumes that are on one filesystem, which share its space.
fn mark_shared(measured: &mut [(&AgentVolume, Measurement)]) {
    let all: Vec<Option<FilesystemUsage>> =
        measured.iter().map(|(_, measurement)| measurement.as_ref().ok().copied()).collect();
    for (index, (_, measurement)) in measured.iter_mut().enumerate() {
        let Ok(usage) = measurement else { continue };
        let others = all.iter().enumerate().filter(|(other, _)| *other != index).filter_map(|(_, other)| *other);
        usage.shared |= others.into_iter().any(|other| usage.is_same_filesystem(&other));
    }
}

fn render(measured: &[(&AgentVolume, Measurement)]) -> String {
    let objects: Vec<String> = measured.iter().map(|(volume, measurement)| object(volume, measurement)).collect();
    format!("[{}]\n", objects.join(","))
}

fn object(volume: &AgentVolume, measurement: &Measurement) -> String {
    let usage = measurement.clone().unwrap_or_default();
    let (path, pvc_name) = (json_string(&volume.path.to_string_lossy()), json_string(&volume.pvc_name));
    let mut object = format!("{{\"dir\":{path},\"pvc_name\":{pvc_name}");
    let fields = [
        ("all_bytes", usage.all_bytes),
        ("free_bytes", usage.free_bytes),
        ("available_bytes", usage.available_bytes),
        ("inodes", usage.inodes),
        ("inodes_free", usage.inodes_free),
    ];
    for (name, value) in fields {
        let _ = write!(object, ",\"{name}\":{value}");
    }
    if usage.shared {
        object.push_str(",\"shared\":true");
    }
    if let Err(problem) = measurement {
        let _ = write!(object, ",\"error\":{}", json_string(problem));
    }
    object.push('}');
    object
}

/// The text as a JSON string.
fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
