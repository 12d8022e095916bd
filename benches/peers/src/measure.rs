//! What a measured stretch cost: time, bytes written, memory and disk, as the process and the kernel account them.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::engine::Result;

pub type Metrics = Map<String, Value>;

/// For what the kernel and the device do after a sync: discards of freed blocks, the file system's own journal.
const PAUSE: Duration = Duration::from_millis(50);

/// The number behind a name in a file like /proc/self/status, in its own unit; 0 where the kernel does not tell.
fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Resident memory of the process, in bytes: what no file backs (heaps, caches), and what is mapped from files.
fn resident_bytes() -> (u64, u64) {
    let kibibytes = |name| field("/proc/self/status", name) << 10;
    (kibibytes("RssAnon"), kibibytes("RssFile"))
}

/// Writes back what the file system of the directory has not yet, and waits until that is over: else one engine's write-back would fall into the
/// time of the next one.
pub fn quiesce(directory: &Path) -> Result<()> {
    let status = Command::new("sync").arg("--file-system").arg(directory).status()?;
    std::thread::sleep(PAUSE);
    if status.success() { Ok(()) } else { Err(format!("sync: {status}").into()) }
}

/// Touches most of the memory that is free, and gives it back. A virtual machine gets its memory from its host page by page, at first touch: whoever
/// fills the page cache first pays for that, four times what a page costs later.
pub fn touch_memory() {
    let free = usize::try_from(field("/proc/meminfo", "MemAvailable") << 10).unwrap_or(0) / 4 * 3;
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(free).is_ok() {
        memory.resize(free, 1);
        std::hint::black_box(&memory);
    }
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
    /// Pages made dirty, in bytes: what goes to the device sooner or later. Logs that are removed before the kernel wrote them back count too: how many
    /// of them that spares depends on the length of the run, not on the engine.
    pages: u64,
    /// Of those, bytes that were removed before.
    cancelled: u64,
    /// Bytes handed to write calls; mappings do not count.
    calls: u64,
    device: u64,
}

impl Written {
    fn now(directory: &Path) -> Self {
        let io = |name| field("/proc/self/io", name);
        Self { pages: io("write_bytes"), cancelled: io("cancelled_write_bytes"), calls: io("wchar"), device: device_bytes(directory) }
    }
}

/// Watches a stretch from its start on.
pub struct Meter {
    directory: PathBuf,
    written: Written,
    resident_before: (u64, u64),
    anonymous_peak: Arc<AtomicU64>,
    file_peak: Arc<AtomicU64>,
    disk_peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl Meter {
    pub fn start(directory: &Path) -> Self {
        let meter = Self {
            directory: directory.to_path_buf(),
            written: Written::now(directory),
            resident_before: resident_bytes(),
            anonymous_peak: Arc::default(),
            file_peak: Arc::default(),
            disk_peak: Arc::default(),
            stop: Arc::default(),
            sampler: None,
        };
        let (directory, stop) = (meter.directory.clone(), Arc::clone(&meter.stop));
        let (anonymous, file, disk) = (Arc::clone(&meter.anonymous_peak), Arc::clone(&meter.file_peak), Arc::clone(&meter.disk_peak));
        let sampler = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let now = resident_bytes();
                anonymous.fetch_max(now.0, Ordering::Relaxed);
                file.fetch_max(now.1, Ordering::Relaxed);
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
        let anonymous = self.anonymous_peak.load(Ordering::Relaxed).saturating_sub(self.resident_before.0);
        let file = self.file_peak.load(Ordering::Relaxed).saturating_sub(self.resident_before.1);
        metrics.insert("written_pages_bytes".into(), json!(now.pages.saturating_sub(self.written.pages)));
        metrics.insert("cancelled_pages_bytes".into(), json!(now.cancelled.saturating_sub(self.written.cancelled)));
        metrics.insert("written_calls_bytes".into(), json!(now.calls.saturating_sub(self.written.calls)));
        metrics.insert("written_device_bytes".into(), json!(now.device.saturating_sub(self.written.device)));
        metrics.insert("anonymous_peak_bytes".into(), json!(anonymous));
        metrics.insert("file_peak_bytes".into(), json!(file));
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
