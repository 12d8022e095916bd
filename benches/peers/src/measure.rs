//! What a measured stretch cost: time, bytes written, memory and disk, as the process and the kernel account them.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

pub type Metrics = Map<String, Value>;

/// The number behind a name in a file like /proc/self/status, in its own unit; 0 where the kernel does not tell.
fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Memory of the process that is not mapped from files, in bytes.
fn anonymous_bytes() -> u64 {
    field("/proc/self/status", "RssAnon") << 10
}

/// Bytes of memory that the machine has.
pub fn machine_memory() -> u64 {
    field("/proc/meminfo", "MemTotal") << 10
}

/// Blocks of a directory's files, in bytes, as `du` counts them.
pub fn disk_bytes(directory: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        // A file that vanishes meanwhile takes no room.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 };
    }
    bytes
}

/// Bytes written to the device that holds the directory, by everybody, since the machine started.
fn device_bytes(directory: &Path) -> u64 {
    let device = std::fs::metadata(directory).map_or(0, |metadata| metadata.dev());
    let (major, minor) = ((device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xF_FF00));
    let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap_or_default();
    text.split_whitespace().nth(6).and_then(|sectors| sectors.parse::<u64>().ok()).unwrap_or(0) * 512
}

#[derive(Clone, Copy)]
struct Written {
    /// Pages made dirty, in bytes: what goes to the device sooner or later.
    pages: u64,
    /// Bytes handed to write calls; mappings do not count.
    calls: u64,
    device: u64,
}

impl Written {
    fn now(directory: &Path) -> Self {
        let io = |name| field("/proc/self/io", name);
        Self { pages: io("write_bytes").saturating_sub(io("cancelled_write_bytes")), calls: io("wchar"), device: device_bytes(directory) }
    }
}

/// Watches a stretch from its start on.
pub struct Meter {
    directory: PathBuf,
    written: Written,
    anonymous_before: u64,
    anonymous_peak: Arc<AtomicU64>,
    disk_peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl Meter {
    pub fn start(directory: &Path) -> Self {
        let meter = Self {
            directory: directory.to_path_buf(),
            written: Written::now(directory),
            anonymous_before: anonymous_bytes(),
            anonymous_peak: Arc::default(),
            disk_peak: Arc::default(),
            stop: Arc::default(),
            sampler: None,
        };
        let (directory, stop) = (meter.directory.clone(), Arc::clone(&meter.stop));
        let (memory, disk) = (Arc::clone(&meter.anonymous_peak), Arc::clone(&meter.disk_peak));
        let sampler = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                memory.fetch_max(anonymous_bytes(), Ordering::Relaxed);
                disk.fetch_max(disk_bytes(&directory), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { sampler: Some(sampler), ..meter }
    }

    /// What was written since the start, and the peaks.
    pub fn stop(mut self, metrics: &mut Metrics) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            let _samples = sampler.join();
        }
        let now = Written::now(&self.directory);
        let memory = self.anonymous_peak.load(Ordering::Relaxed).saturating_sub(self.anonymous_before);
        metrics.insert("written_pages_bytes".into(), json!(now.pages.saturating_sub(self.written.pages)));
        metrics.insert("written_calls_bytes".into(), json!(now.calls.saturating_sub(self.written.calls)));
        metrics.insert("written_device_bytes".into(), json!(now.device.saturating_sub(self.written.device)));
        metrics.insert("memory_peak_bytes".into(), json!(memory));
        metrics.insert("disk_peak_bytes".into(), json!(self.disk_peak.load(Ordering::Relaxed)));
    }
}

/// When a row has cost enough.
#[derive(Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(seconds: f64) -> Self {
        Self(Instant::now() + Duration::from_secs_f64(seconds))
    }

    pub fn passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// Latencies of single operations, in nanoseconds.
#[derive(Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    pub fn time<T>(&mut self, operation: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = operation();
        self.0.push(started.elapsed().as_nanos() as u64);
        result
    }

    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// p50, p90, p99, p99.9 and the maximum under the name.
    pub fn report(mut self, name: &str, metrics: &mut Metrics) {
        self.0.sort_unstable();
        let Some(last) = self.0.len().checked_sub(1) else { return };
        for (suffix, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            metrics.insert(format!("{name}_{suffix}_ns"), json!(self.0[(last as f64 * share).round() as usize]));
        }
    }
}
