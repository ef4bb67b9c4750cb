//! The usage of one volume: `statvfs` in a thread for each volume, with a timeout.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::args::AgentVolume;
use super::news::{Level, Part};

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
        thread::Builder::new().stack_size(THREAD_STACK_BYTES).spawn(move || {
            let mut last = None;
            shared.serve(|| measure_path(&path, &mut last))
        })?;
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

    fn serve(&self, mut measure: impl FnMut() -> Measurement) -> ! {
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

/// Measures the filesystem at a path. `last`: the last measurement. A filesystem that is the same as then is shared if it was
/// then: while a request is held, this saves two thirds of the system calls.
fn measure_path(path: &Path, last: &mut Option<FilesystemUsage>) -> Measurement {
    let usage = usage(path).map_err(|error| format!("failed to get the usage of {}: {error}", path.display()))?;
    let shared = match last.filter(|last| last.is_same_filesystem(&usage)) {
        Some(last) => last.shared,
        None => is_directory(&usage),
    };
    Ok(*last.insert(FilesystemUsage { shared, ..usage }))
}

/// Whether it is a directory of another filesystem. In a container, / is the image, and /etc/hosts is a file of the kubelet
/// on the node's disk. A volume with the device *and* the size of one of them is a directory of it; a directory with its own
/// quota has another size.
fn is_directory(usage: &FilesystemUsage) -> bool {
    let is_same = |other: &str| self::usage(Path::new(other)).is_ok_and(|other| usage.is_same_filesystem(&other));
    is_same("/") || is_same("/etc/hosts")
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
    fn used(&self) -> u64 {
        self.all_bytes.saturating_sub(self.free_bytes)
    }

    fn is_same_filesystem(&self, other: &Self) -> bool {
        self.device == other.device && self.all_bytes == other.all_bytes
    }
}

/// Measures all volumes.
pub(super) fn measure(probes: &[Probe]) -> Vec<Measurement> {
    // All measurements are requested before the first wait: the timeout is for the whole response.
    let requested: Vec<u64> = probes.iter().map(Probe::request).collect();
    let deadline = Instant::now() + PROBE_TIMEOUT;
    let results = probes.iter().zip(requested).map(|(probe, requested)| probe.result(requested, deadline));
    let mut measured: Vec<Measurement> = results.collect();
    mark_shared(&mut measured);
    measured
}

/// The used bytes of a volume, if it was measured.
pub(super) fn used(measurement: &Measurement) -> Option<u64> {
    measurement.as_ref().ok().map(FilesystemUsage::used)
}

/// What decides whether a held request is answered. The shares are those that `df` prints, like the operator's.
pub(super) fn level(measurement: &Measurement) -> Level {
    let Ok(usage) = measurement else { return Level::Failed };
    let used = usage.used();
    let inodes = Part { used: usage.inodes.saturating_sub(usage.inodes_free), whole: usage.inodes };
    Level::Measured {
        size: usage.all_bytes,
        bytes: Part { used, whole: used.saturating_add(usage.available_bytes) },
        inodes: (usage.inodes > 0).then_some(inodes),
    }
}

/// Marks volumes that are on one filesystem, which share its space.
fn mark_shared(measured: &mut [Measurement]) {
    let all: Vec<Option<FilesystemUsage>> =
        measured.iter().map(|measurement| measurement.as_ref().ok().copied()).collect();
    for (index, measurement) in measured.iter_mut().enumerate() {
        let Ok(usage) = measurement else { continue };
        let others = all.iter().enumerate().filter(|(other, _)| *other != index).filter_map(|(_, other)| *other);
        usage.shared |= others.into_iter().any(|other| usage.is_same_filesystem(&other));
    }
}

/// What only the answer to a held request contains.
pub(super) struct Held {
    /// For each volume, the bytes per second that were written in the last second.
    pub(super) rates: Vec<u64>,
    /// The time from the request to the measurement.
    pub(super) waited: Duration,
}

/// The body of the response to `GET /disk`, and whether every volume was measured.
pub(super) fn render(probes: &[Probe], measured: &[Measurement], held: Option<&Held>) -> (bool, String) {
    let objects = probes.iter().zip(measured).enumerate().map(|(index, (probe, measurement))| {
        let held = held.map(|held| (held.rates.get(index).copied().unwrap_or(0), held.waited));
        object(&probe.volume, measurement, held)
    });
    let objects: Vec<String> = objects.collect();
    (measured.iter().all(Result::is_ok), format!("[{}]\n", objects.join(",")))
}

/// The JSON object of one volume. `held`: its rate and the wait, in the answer to a held request.
fn object(volume: &AgentVolume, measurement: &Measurement, held: Option<(u64, Duration)>) -> String {
    let usage = measurement.clone().unwrap_or_default();
    let (path, pvc_name) = (json_string(&volume.path.to_string_lossy()), json_string(&volume.pvc_name));
    let mut object = format!("{{\"dir\":{path},\"pvc_name\":{pvc_name}");
    let fields = [
        ("all_bytes", Some(usage.all_bytes)),
        ("free_bytes", Some(usage.free_bytes)),
        ("rate_bytes", held.map(|(rate, _)| rate)),
        ("available_bytes", Some(usage.available_bytes)),
        ("inodes", Some(usage.inodes)),
        ("inodes_free", Some(usage.inodes_free)),
        ("waited_ms", held.map(|(_, waited)| u64::try_from(waited.as_millis()).unwrap_or(u64::MAX))),
    ];
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
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
