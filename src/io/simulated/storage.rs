use std::{any::Any, io, process};

use super::{Shared, SimulatedDisk, fault::OperationKind, state::State};
use crate::{
    io::{Bytes, Environment, FileInfo, Lock, ReadFile, Storage, WriteFile, failed_sync, publish},
    sync::Arc,
};

/// Repeats what a signal interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl Shared {
    fn run<T>(&self, mut operation: impl FnMut(&mut State) -> io::Result<T>) -> io::Result<T> {
        uninterrupted(|| {
            let mut state = self.state.lock();
            let before = state.crash_points.is_some().then(|| state.crash_point());
            let result = operation(&mut state);
            if let Some(before) = before
                && state.gate.last.is_some_and(OperationKind::changes)
            {
                state.crash_points.get_or_insert_default().push(before);
            }
            result
        })
    }
}

impl SimulatedDisk {
    fn handle(&self, name: &str, inode: u64) -> Arc<Handle> {
        Arc::new(Handle { shared: Arc::clone(&self.shared), inode, name: name.to_owned() })
    }
}

impl Storage for SimulatedDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        let inode = self.shared.run(|state| state.create(name))?;
        Ok(self.handle(name, inode))
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        let inode = self.shared.run(|state| state.open(OperationKind::OpenWrite, name))?;
        Ok(self.handle(name, inode))
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        let inode = self.shared.run(|state| state.open(OperationKind::OpenRead, name))?;
        Ok(self.handle(name, inode))
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let _alone = self.shared.publishing.lock();
        publish::publish(self, &|from, to| self.shared.run(|state| state.link(from, to)), name, bytes)
    }

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.shared.run(State::list)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shared.run(|state| state.remove(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.shared.run(State::sync_names).map_err(failed_sync)
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        match self.open_write(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => drop(self.create(name)?),
            file => drop(file?),
        }
        self.shared.run(|state| state.lock(name))?;
        Ok(Box::new(HeldLock { shared: Arc::clone(&self.shared), name: name.to_owned(), owner: process::id() }))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.shared.run(|state| state.is_locked(name))
    }

    fn link_into(&self, name: &str, target: &dyn Storage, target_name: &str) -> io::Result<bool> {
        let target: &dyn Any = target;
        match target.downcast_ref::<Self>() {
            Some(target) if Arc::ptr_eq(&self.shared, &target.shared) => {
                self.shared.run(|state| state.link(name, target_name)).map(|()| true)
            }
            // Another disk is another device.
            _ => Ok(false),
        }
    }

    fn environment(&self) -> &Environment {
        &self.shared.environment
    }
}

#[derive(Debug)]
struct HeldLock {
    shared: Arc<Shared>,
    name: String,
    owner: u32,
}

impl Lock for HeldLock {
    fn is_mine(&self) -> bool {
        self.owner == process::id()
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.shared.state.lock().locked.remove(&self.name);
    }
}

/// An open file.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    inode: u64,
    name: String,
}

impl Handle {
    fn target(&self) -> (u64, &str) {
        (self.inode, &self.name)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state.lock().close(self.inode);
    }
}

impl WriteFile for Handle {
    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.shared.run(|state| state.write(self.target(), offset, bytes))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
            offset = offset.saturating_add(written as u64);
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.shared.run(|state| state.allocate(self.target(), len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.shared.run(|state| state.set_len(self.target(), len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.shared.run(|state| state.sync_data(self.target())).map_err(failed_sync)
    }
}

impl ReadFile for Handle {
    fn len(&self) -> io::Result<u64> {
        self.shared.run(|state| state.stat(self.target())).map(|(len, _)| len)
    }

    fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = self.shared.run(|state| state.read(self.target(), offset, buffer))?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.get_mut(read..).unwrap_or_default();
            offset = offset.saturating_add(read as u64);
        }
        Ok(())
    }

    fn map(&self) -> io::Result<Bytes> {
        self.shared.run(|state| state.map(self.target()))
    }

    fn links(&self) -> io::Result<u64> {
        self.shared.run(|state| state.stat(self.target())).map(|(_, links)| links)
    }
}
