//! File systems in files, in a mount namespace of our own: whatever ends this process, Ctrl-C and SIGKILL too, ends the mounts and with them the
//! loop devices and the memory that holds the images.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Set in the process that has a namespace of its own.
const MARK: &str = "VARVITE_TORTURE_NAMESPACE";
const IMAGE_BYTES: u64 = 320 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }
}

/// Starts this program again in a mount namespace of its own. Returns only if that is done already, or why it cannot be.
pub fn enter_namespace() -> Result<(), String> {
    if std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    // A look, not a promise: mounting tells.
    if !Path::new("/dev/loop-control").exists() {
        return Err("there are no loop devices".to_owned());
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    if !run(&["unshare", "--mount", "--propagation", "private", "true"]).is_ok_and(|ended| ended) {
        return Err("mounting needs root".to_owned());
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(program).args(std::env::args_os().skip(1)).env(MARK, "1");
    Err(command.exec().to_string())
}

fn run(words: &[&str]) -> io::Result<bool> {
    let output = Command::new(words[0]).args(&words[1..]).output()?;
    Ok(output.status.success())
}

/// Runs a command that must succeed.
fn must(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// Memory to keep images in.
pub struct Place {
    pub directory: PathBuf,
}

impl Place {
    pub fn new() -> io::Result<Self> {
        // Of our own: who removes a directory unmounts what others have mounted there in their namespaces. If we are killed, it stays, empty.
        let directory = std::env::temp_dir().join(format!("varvite-torture-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=80%", "varvite-torture"]).arg(&directory))?;
        Ok(Self { directory })
    }

    /// The file systems that can be made and mounted here; tells of the others why not.
    pub fn kinds(&self, missing: impl Fn(Kind, &str)) -> Vec<Kind> {
        let is_there = |kind: &Kind| {
            let tried = self.disk(*kind, &format!("probe-{}", kind.name()));
            tried.inspect_err(|error| missing(*kind, &error.to_string())).is_ok()
        };
        [Kind::Ext4, Kind::Xfs].into_iter().filter(is_there).collect()
    }

    pub fn disk(&self, kind: Kind, name: &str) -> io::Result<Disk> {
        let image = self.directory.join(format!("{name}.image"));
        let mounted = self.directory.join(name);
        fs::File::create(&image)?.set_len(IMAGE_BYTES)?;
        fs::create_dir(&mounted)?;
        let force = if kind == Kind::Ext4 { "-F" } else { "-f" };
        must(Command::new(format!("mkfs.{}", kind.name())).args(["-q", force]).arg(&image))?;
        let disk = Disk { image, mounted };
        disk.mount()?;
        Ok(disk)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays ends with this process.
        let _stays = run(&["umount", "--lazy", &self.directory.to_string_lossy()]);
        let _kept_by_others = fs::remove_dir(&self.directory);
    }
}

/// A mounted file system.
pub struct Disk {
    image: PathBuf,
    pub mounted: PathBuf,
}

impl Disk {
    fn mount(&self) -> io::Result<()> {
        must(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mounted))
    }

    pub fn remount(&self) -> io::Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// A command that another thread is just starting holds a copy of every descriptor for an instant.
    fn unmount(&self) -> io::Result<()> {
        let mut tries = 0;
        loop {
            match must(Command::new("umount").arg(&self.mounted)) {
                Err(error) if tries < 200 && error.to_string().contains("busy") => std::thread::sleep(Duration::from_millis(5)),
                result => return result,
            }
            tries += 1;
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What stays ends with this process.
        let _stays = run(&["umount", "--lazy", &self.mounted.to_string_lossy()]);
        let _gone = fs::remove_file(&self.image);
    }
}
