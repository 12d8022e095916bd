//! Loop devices, by system calls: attached while a descriptor is open, so that whatever ends this process detaches them.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::PathBuf,
    time::{Duration, Instant},
};

const GET_FREE: libc::Ioctl = 0x4C82;
const CONFIGURE: libc::Ioctl = 0x4C0A;
/// `BLKDISCARD`.
const DISCARD: libc::Ioctl = 0x1277;
/// Detached with the last descriptor.
const AUTOCLEAR: u32 = 4;
const DIRECT: u32 = 16;

const PATIENCE: Duration = Duration::from_secs(60);

/// `struct loop_config` of the kernel, with `struct loop_info64` in it.
#[repr(C)]
struct Configuration {
    file: u32,
    sector_bytes: u32,
    places: [u64; 5],
    number_and_encryption: [u32; 3],
    flags: u32,
    names: [u8; 160],
    reserved: [u64; 10],
}

/// A loop device over a file.
pub struct Loop {
    device: File,
    pub path: PathBuf,
}

impl Loop {
    /// With `direct`, what is written reaches the file at once, as one write where it was one request.
    pub fn attach(file: &File, direct: bool) -> io::Result<Self> {
        let started = Instant::now();
        loop {
            match Self::try_attach(file, direct) {
                // Another process was faster, or has them all for a while.
                Err(error) if is_taken(&error) && started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
                result => return result,
            }
        }
    }

    fn try_attach(file: &File, direct: bool) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        // SAFETY: takes no argument; the descriptor is open for the whole call.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::options().read(true).write(true).open(&path)?;
        let configuration = Configuration {
            file: file.as_raw_fd() as u32,
            sector_bytes: 512,
            places: [0; 5],
            number_and_encryption: [0; 3],
            flags: if direct { AUTOCLEAR | DIRECT } else { AUTOCLEAR },
            names: [0; 160],
            reserved: [0; 10],
        };
        // SAFETY: both descriptors are open for the whole call, which reads one structure of this layout and keeps nothing of it.
        let result = unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const configuration) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { device, path }) }
    }

    /// Empties device and file, and whatever is cached of them: unlike `BLKFLSBUF`, which keeps pages that are just in use. Fails as long as the
    /// device is mounted anywhere, where it would be mounted once more as it is, whatever the file says then.
    pub fn empty(&self, bytes: u64) -> io::Result<()> {
        let started = Instant::now();
        loop {
            let range = [0_u64, bytes];
            // SAFETY: the descriptor is open for the whole call, which reads two integers at the pointer and keeps nothing.
            let result = unsafe { libc::ioctl(self.device.as_raw_fd(), DISCARD, &raw const range) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                _ if result == 0 => return Ok(()),
                Some(libc::EBUSY) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
                _ => return Err(error),
            }
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOENT | libc::ENXIO | libc::ENODEV))
}
