//! How much memory and time does a process take?

use std::fs;
use std::path::PathBuf;

use rso::api::bytes::Bytes;

/// A second in `/proc/<pid>/stat`: USER_HZ, which is the same on every Linux.
const TICKS: f64 = 100.0;

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// The memory that it has resident.
    pub fn resident(self) -> Bytes {
        self.status("VmRSS:")
    }

    /// The most memory that it had resident since [`Process::forget_peak`].
    pub fn peak(self) -> Bytes {
        self.status("VmHWM:")
    }

    /// From now on the peak is a new one, where the kernel can do that.
    pub fn forget_peak(self) {
        let _ = fs::write(self.folder().join("clear_refs"), "5");
    }

    /// Seconds of user and system time.
    pub fn cpu(self) -> f64 {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks = |nth: usize| fields[nth].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / TICKS
    }

    fn status(self, field: &str) -> Bytes {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap();
        Bytes(kib * 1024)
    }

    fn folder(self) -> PathBuf {
        PathBuf::from("/proc").join(self.0.to_string())
    }

    fn read(self, file: &str) -> String {
        fs::read_to_string(self.folder().join(file)).unwrap()
    }
}
