//! How full is one volume? `statvfs`, in a thread of its own, with a deadline.

use std::fmt::Write;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::args::Volume;

/// A filesystem that has not answered within this is told as an error. The operator waits two seconds.
pub(super) const DEADLINE: Duration = Duration::from_secs(1);
/// Enough for one system call and its error; threads are by default given two MiB.
pub(super) const STACK: usize = 64 << 10;

/// The figures of a filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    all_bytes: u64,
    free_bytes: u64,
    available_bytes: u64,
    inodes: u64,
    inodes_free: u64,
    device: u64,
    /// Not a filesystem of its own, but a folder of the node's or of the image.
    shared: bool,
}

/// What a probe found, as it is told.
pub(super) type Found = Result<Figures, String>;

/// One volume and the thread that looks at it.
pub(super) struct Probe {
    volume: Volume,
    exchange: Arc<Exchange>,
}

/// What is asked and answered between those who want to know and the thread that looks.
#[derive(Default)]
struct Exchange {
    state: Mutex<State>,
    changed: Condvar,
}

/// How many looks were asked for and done: a look that was begun before the question may be older than it.
#[derive(Default)]
struct State {
    asked: u64,
    done: u64,
    found: Option<Found>,
}

impl Probe {
    /// Starts the thread. It lives as long as the program.
    pub(super) fn start(volume: Volume) -> io::Result<Self> {
        let exchange = Arc::new(Exchange::default());
        let (theirs, path) = (Arc::clone(&exchange), volume.path.clone());
        thread::Builder::new().stack_size(STACK).spawn(move || theirs.answer(|| look(&path)))?;
        Ok(Self { volume, exchange })
    }

    /// Asks for a look; the answer is fetched with [`Probe::found`].
    pub(super) fn ask(&self) -> u64 {
        self.exchange.ask()
    }

    /// What the look that was asked for found, at the latest when `until` has come.
    pub(super) fn found(&self, asked: u64, until: Instant) -> Found {
        self.exchange.found(asked, until)
    }
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics while it holds the lock, and the state is whole between any two lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) -> u64 {
        let mut state = self.state();
        state.asked += 1;
        self.changed.notify_all();
        state.asked
    }

    fn found(&self, asked: u64, until: Instant) -> Found {
        let mut state = self.state();
        while state.done < asked {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("the filesystem has not answered for {} s", DEADLINE.as_secs()));
            }
            state =
                self.changed.wait_timeout(state, left).map_or_else(|error| error.into_inner().0, |(state, _)| state);
        }
        state.found.clone().unwrap_or_else(|| Err("it was not looked at".to_owned()))
    }

    fn answer(&self, look: impl Fn() -> Found) -> ! {
        loop {
            let mut state = self.state();
            while state.done == state.asked {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let asked = state.asked;
            drop(state);
            let found = look();
            let mut state = self.state();
            (state.found, state.done) = (Some(found), asked);
            self.changed.notify_all();
        }
    }
}

/// Looks at a path.
fn look(path: &Path) -> Found {
    let figures = figures(path).map_err(|error| format!("failed to look at {}: {error}", path.display()))?;
    // In a container, / is of the image and /etc/hosts is a file of the kubelet on the node's disk. A volume with the
    // device *and* the size of one of them is a folder of it; a folder with a quota of its own has another size.
    let folder_of = |other: &str| self::figures(Path::new(other)).is_ok_and(|other| figures.is_same_filesystem(&other));
    Ok(Figures { shared: folder_of("/") || folder_of("/etc/hosts"), ..figures })
}

fn figures(path: &Path) -> io::Result<Figures> {
    let of = rustix::fs::statvfs(path)?;
    // POSIX counts blocks in units of f_frsize; f_bsize is only the size that is good to read.
    let bytes = |blocks: u64| blocks.saturating_mul(of.f_frsize);
    Ok(Figures {
        all_bytes: bytes(of.f_blocks),
        free_bytes: bytes(of.f_bfree),
        available_bytes: bytes(of.f_bavail),
        inodes: of.f_files,
        inodes_free: of.f_ffree,
        device: std::fs::metadata(path)?.dev(),
        shared: false,
    })
}

impl Figures {
    fn is_same_filesystem(&self, other: &Self) -> bool {
        self.device == other.device && self.all_bytes == other.all_bytes
    }
}

/// The answer to `GET /disk`, and whether every volume could be looked at.
pub(super) fn answer(probes: &[Probe]) -> (bool, String) {
    // All are asked before any is waited for: the deadline is for the whole answer.
    let asked: Vec<u64> = probes.iter().map(Probe::ask).collect();
    let until = Instant::now() + DEADLINE;
    let mut found: Vec<(&Volume, Found)> =
        probes.iter().zip(asked).map(|(probe, asked)| (&probe.volume, probe.found(asked, until))).collect();
    mark_twins(&mut found);
    (found.iter().all(|(_, found)| found.is_ok()), render(&found))
}

/// Two volumes on one filesystem share its room.
fn mark_twins(found: &mut [(&Volume, Found)]) {
    let all: Vec<Option<Figures>> = found.iter().map(|(_, found)| found.as_ref().ok().copied()).collect();
    for (index, (_, found)) in found.iter_mut().enumerate() {
        let Ok(figures) = found else { continue };
        let others = all.iter().enumerate().filter(|(other, _)| *other != index).filter_map(|(_, other)| *other);
        figures.shared |= others.into_iter().any(|other| figures.is_same_filesystem(&other));
    }
}

fn render(found: &[(&Volume, Found)]) -> String {
    let objects: Vec<String> = found.iter().map(|(volume, found)| object(volume, found)).collect();
    format!("[{}]\n", objects.join(","))
}

fn object(volume: &Volume, found: &Found) -> String {
    let figures = found.clone().unwrap_or_default();
    let mut object = format!("{{\"dir\":{},\"pvc_name\":{}", string(&volume.path), string_of(&volume.claim));
    let fields = [
        ("all_bytes", figures.all_bytes),
        ("free_bytes", figures.free_bytes),
        ("available_bytes", figures.available_bytes),
        ("inodes", figures.inodes),
        ("inodes_free", figures.inodes_free),
    ];
    for (name, value) in fields {
        let _ = write!(object, ",\"{name}\":{value}");
    }
    if figures.shared {
        object.push_str(",\"shared\":true");
    }
    if let Err(why) = found {
        let _ = write!(object, ",\"error\":{}", string_of(why));
    }
    object.push('}');
    object
}

fn string(path: &Path) -> String {
    string_of(&path.to_string_lossy())
}

/// A JSON string.
fn string_of(text: &str) -> String {
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
