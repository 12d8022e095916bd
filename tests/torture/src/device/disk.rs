//! The file systems, made and mounted.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{
    blocks::Image,
    loops::Loop,
    server::{IMAGE, LOG, SERVED, Server},
};
use crate::powercut::mount::Kind;

/// A file system and how it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    Ext4,
    /// Journals no order between data and names.
    Ext4Writeback,
    Xfs,
}

pub const FLAVORS: [Flavor; 3] = [Flavor::Ext4, Flavor::Ext4Writeback, Flavor::Xfs];

impl Flavor {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Ext4Writeback => "ext4-writeback",
            Self::Xfs => "xfs",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        FLAVORS.into_iter().find(|flavor| flavor.name() == name)
    }

    pub fn kind(self) -> Kind {
        if self == Self::Xfs { Kind::Xfs } else { Kind::Ext4 }
    }

    fn options(self) -> &'static std::ffi::CStr {
        match self {
            Self::Ext4 => c"data=ordered",
            Self::Ext4Writeback => c"data=writeback",
            // Images of one file system have one identity.
            Self::Xfs => c"nouuid",
        }
    }

    /// As small as the file system allows and the workload needs.
    fn image_bytes(self) -> u64 {
        if self == Self::Xfs { 320 << 20 } else { 32 << 20 }
    }

    /// An empty file system.
    pub fn make(self, directory: &Path) -> Image {
        let path = directory.join("made");
        File::create(&path).unwrap().set_len(self.image_bytes()).unwrap();
        let mut command = Command::new(format!("mkfs.{}", self.kind().name()));
        match self.kind() {
            Kind::Ext4 => command.args(["-q", "-F", "-b", "4096", "-m", "0", "-J", "size=4"]),
            Kind::Xfs => command.args(["-q", "-f"]),
        };
        if self.kind() == Kind::Ext4 {
            // Else a thread of the kernel writes zeros all the time.
            command.args(["-E", "lazy_itable_init=0,lazy_journal_init=0"]);
        }
        let output = command.arg(&path).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        let image = Image::read_from(&File::open(&path).unwrap()).unwrap();
        fs::remove_file(&path).unwrap();
        image
    }
}

/// A mounted file system; unmounted when dropped.
pub struct Mounted {
    pub path: PathBuf,
}

impl Mounted {
    pub fn new(flavor: Flavor, device: &Loop, path: PathBuf) -> std::io::Result<Self> {
        fs::create_dir_all(&path)?;
        mount(&device.path, &path, flavor.kind().name(), MountFlags::NOATIME, flavor.options())?;
        Ok(Self { path })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that another thread is just starting holds a copy of every descriptor for an instant.
        for _ in 0..400 {
            if unmount(&self.path, UnmountFlags::empty()) != Err(rustix::io::Errno::BUSY) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // What stays ends with this process.
        let _stays = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// A disk whose writes are logged. The order of the fields is the order in which they end.
pub struct Logged<'a> {
    pub device: Loop,
    _files: Files<'a>,
    directory: PathBuf,
}

impl<'a> Logged<'a> {
    pub fn start(server: &'a Server, base: &Image, directory: &Path) -> Self {
        fs::create_dir_all(directory.join(SERVED)).unwrap();
        base.write_to(&File::create(directory.join(IMAGE)).unwrap()).unwrap();
        let files = Files { server, directory: directory.to_owned() };
        let device = Loop::attach(&server.serve(directory), true).unwrap_or_else(|error| panic!("no loop device: {error}"));
        Self { device, _files: files, directory: directory.to_owned() }
    }

    /// How much is in the log: a call that has returned before rests on this much of it at most.
    pub fn position(&self) -> u64 {
        fs::metadata(self.directory.join(LOG)).unwrap().len()
    }

    pub fn log(&self) -> Vec<u8> {
        fs::read(self.directory.join(LOG)).unwrap()
    }
}

/// What a logged disk keeps in memory.
struct Files<'a> {
    server: &'a Server,
    directory: PathBuf,
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        self.server.stop(&self.directory);
        let _gone = fs::remove_file(self.directory.join(IMAGE));
        let _gone = fs::remove_file(self.directory.join(LOG));
    }
}
