//! The device that remembers: one file, served over FUSE, whose writes and syncs are logged in the order in which they came.
//!
//! It is a process of its own, in a mount namespace of its own. A file system waits for its device; were the server a thread beside the writers, a
//! kill would leave them waiting for a thread that is gone, with the connection still open. So it ends alone: when its parent hangs up. One process
//! serves all devices, as its namespace is a copy of ours: one that began later would keep what is mounted then.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::Write,
    os::unix::{fs::FileExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, UNIX_EPOCH},
};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::support::child::{Talk, say};

/// What stands in the log instead of an offset where everything before was synced.
pub const SYNC: u64 = u64::MAX;
/// Offset and length, before the bytes.
pub const HEADER_BYTES: usize = 16;
/// The names in a device's directory.
pub const IMAGE: &str = "image";
pub const LOG: &str = "log";
pub const SERVED: &str = "served";
pub const FILE: &str = "disk";

const FILE_NODE: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(1 << 20);

/// The process that serves.
pub struct Server(Mutex<Talk>, u32);

impl Server {
    /// To be called before anything but memory is mounted.
    pub fn start() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap()).arg("device-server");
        // Ctrl-C is for us; it ends when we have.
        command.process_group(0);
        let talk = Talk::start(&mut command);
        let id = talk.child.id();
        Self(Mutex::new(talk), id)
    }

    /// Serves the image of a directory. Returns the file.
    pub fn serve(&self, directory: &Path) -> File {
        let mut talk = self.0.lock().unwrap();
        writeln!(talk.child.stdin.as_mut().unwrap(), "serve {}", directory.display()).unwrap();
        talk.expect("ready");
        // Its namespace is not ours.
        let root = PathBuf::from(format!("/proc/{}/root", self.1));
        let path = root.join(directory.strip_prefix("/").unwrap()).join(SERVED).join(FILE);
        File::options().read(true).write(true).open(path).unwrap()
    }

    pub fn stop(&self, directory: &Path) {
        let mut talk = self.0.lock().unwrap();
        writeln!(talk.child.stdin.as_mut().unwrap(), "stop {}", directory.display()).unwrap();
    }
}

/// The child: serves until the parent hangs up.
pub fn serve() {
    let mut sessions = HashMap::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        if let Some(directory) = line.strip_prefix("serve ") {
            match mount(Path::new(directory)) {
                Ok(session) => {
                    sessions.insert(directory.to_owned(), session);
                    say("ready");
                }
                Err(error) => say(&format!("failed: {error}")),
            }
        } else if let Some(session) = line.strip_prefix("stop ").and_then(|directory| sessions.remove(directory)) {
            // Which waits until nobody uses it.
            std::thread::spawn(move || drop(session));
        }
    }
    // Without a farewell: the namespace ends with us, and the mounts with it.
    std::process::exit(0);
}

fn mount(directory: &Path) -> std::io::Result<fuser::BackgroundSession> {
    let image = File::options().read(true).write(true).open(directory.join(IMAGE))?;
    let len = image.metadata()?.len();
    let log = File::options().append(true).create_new(true).open(directory.join(LOG))?;
    let mut config = Config::default();
    config.mount_options.push(MountOption::FSName("varvite-torture".to_owned()));
    fuser::spawn_mount(Device { image, len, log: Mutex::new(log) }, directory.join(SERVED), &config)
}

struct Device {
    image: File,
    len: u64,
    /// Its length is the position that the parent reads, so each record is one write.
    log: Mutex<File>,
}

impl Device {
    fn record(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let record = [&offset.to_le_bytes(), &(bytes.len() as u64).to_le_bytes(), bytes].concat();
        let mut log = self.log.lock().unwrap();
        self.image.write_all_at(bytes, if offset == SYNC { 0 } else { offset })?;
        log.write_all(&record)
    }

    fn attributes(&self, node: INodeNo) -> FileAttr {
        let is_file = node == FILE_NODE;
        FileAttr {
            ino: node,
            size: if is_file { self.len } else { 0 },
            blocks: self.len / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Device {
    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == FILE {
            reply.entry(&FOREVER, &self.attributes(FILE_NODE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _request: &Request, node: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(node));
    }

    fn open(&self, _request: &Request, _node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _request: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; u64::from(size).min(self.len.saturating_sub(offset)) as usize];
        match self.image.read_exact_at(&mut bytes, offset) {
            Ok(()) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.record(offset, bytes) {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(error) => reply.error(error.into()),
        }
    }

    fn fsync(&self, _request: &Request, _node: INodeNo, _handle: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        match self.record(SYNC, &[]) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    /// Of a descriptor that is closed; syncs nothing.
    fn flush(&self, _request: &Request, _node: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
