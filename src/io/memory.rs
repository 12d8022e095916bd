//! Files in memory.

use std::{any::Any, collections::BTreeMap, collections::BTreeSet, io, process};

use super::{
    Bytes, Environment, FileInfo, Lock, ReadFile, Storage, WriteFile,
    buffer::{overwrite, read_exact, resize},
    publish,
    publish::check_name,
};
use crate::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering, RwLock};

/// A storage that lives as long as its last handle: for tests, caches and databases that are not worth a disk.
///
/// ```
/// use varvite::io::{Storage, memory::Memory};
/// let memory = Memory::new();
/// memory.publish("hello", b"world")?;
/// assert_eq!(&*memory.open_read("hello")?.map()?, b"world");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Mutex<BTreeMap<String, Arc<Node>>>,
    locked: Mutex<BTreeSet<String>>,
    publishing: Mutex<()>,
    environment: Environment,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty storage with the operating system's clock and randomness.
    #[must_use]
    pub fn new() -> Self {
        let environment = Environment::of_system(None, false);
        let (files, locked, publishing) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { files, locked, publishing, environment }))
    }

    fn find(&self, name: &str) -> io::Result<Arc<Node>> {
        check_name(name)?;
        self.0.files.lock().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn add(&self, name: &str, node: &Arc<Node>) -> io::Result<()> {
        check_name(name)?;
        let mut files = self.0.files.lock();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        node.links.fetch_add(1, Ordering::Relaxed);
        files.insert(name.to_owned(), Arc::clone(node));
        Ok(())
    }
}

impl Storage for Memory {
    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        let node = Arc::new(Node::default());
        self.add(name, &node)?;
        Ok(Arc::new(Writer::new(node)))
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        Ok(Arc::new(Writer::new(self.find(name)?)))
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        Ok(self.find(name)?)
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let _alone = self.0.publishing.lock();
        publish::publish(self, &|from, to| self.add(to, &self.find(from)?), name, bytes)
    }

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        Ok(self.0.files.lock().iter().map(|(name, node)| FileInfo { name: name.clone(), len: node.content.read().len() }).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        let node = self.0.files.lock().remove(name).ok_or(io::ErrorKind::NotFound)?;
        node.links.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        match self.add(name, &Arc::new(Node::default())) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !self.0.locked.lock().insert(name.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(HeldLock { shared: Arc::clone(&self.0), name: name.to_owned(), owner: process::id() }))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        check_name(name)?;
        Ok(self.0.locked.lock().contains(name))
    }

    fn link_into(&self, name: &str, target: &dyn Storage, target_name: &str) -> io::Result<bool> {
        check_name(target_name)?;
        let node = self.find(name)?;
        let target: &dyn Any = target;
        target.downcast_ref::<Self>().map_or(Ok(false), |target| target.add(target_name, &node).map(|()| true))
    }

    fn environment(&self) -> &Environment {
        &self.0.environment
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
        self.shared.locked.lock().remove(&self.name);
    }
}

/// One file, whatever names it has.
#[derive(Debug, Default)]
struct Node {
    content: RwLock<Content>,
    writers: AtomicUsize,
    links: AtomicU64,
}

/// A file is a growing buffer while it is written, and becomes shared bytes when it is first mapped after that.
#[derive(Debug, Default)]
struct Content {
    /// Empty while `frozen` is there.
    growing: Vec<u8>,
    frozen: Option<Bytes>,
}

impl Content {
    fn as_slice(&self) -> &[u8] {
        self.frozen.as_deref().unwrap_or(&self.growing)
    }

    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    /// The bytes for changing; frozen ones are copied, mappings keep what they have.
    fn growing(&mut self) -> &mut Vec<u8> {
        if let Some(frozen) = self.frozen.take() {
            self.growing = frozen.to_vec();
        }
        &mut self.growing
    }
}

#[derive(Debug)]
struct Writer(Arc<Node>);

impl Writer {
    fn new(node: Arc<Node>) -> Self {
        node.writers.fetch_add(1, Ordering::AcqRel);
        Self(node)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl WriteFile for Writer {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        overwrite(self.0.content.write().growing(), offset, bytes)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut content = self.0.content.write();
        if content.len() < len { resize(content.growing(), len) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        resize(self.0.content.write().growing(), len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadFile for Node {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.read().len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_exact(self.content.read().as_slice(), offset, buffer)
    }

    fn map(&self) -> io::Result<Bytes> {
        let mut content = self.content.write();
        if let Some(frozen) = &content.frozen {
            return Ok(frozen.clone());
        }
        let bytes = Bytes::copy_of(content.as_slice());
        // While somebody writes, freezing would make the next write copy everything back.
        if self.writers.load(Ordering::Acquire) == 0 {
            *content = Content { growing: Vec::new(), frozen: Some(bytes.clone()) };
        }
        Ok(bytes)
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.links.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;
    use crate::io::Storage;

    #[test]
    fn finished_files_are_mapped_without_copying() {
        let memory = Memory::new();
        let writer = memory.create("a").unwrap();
        writer.write_at(0, b"abc").unwrap();
        let reader = memory.open_read("a").unwrap();
        assert_ne!(reader.map().unwrap().as_ptr(), reader.map().unwrap().as_ptr());
        drop(writer);
        let frozen = reader.map().unwrap();
        assert_eq!(frozen.as_ptr(), reader.map().unwrap().as_ptr());
        memory.open_write("a").unwrap().write_at(1, b"X").unwrap();
        assert_eq!((&*frozen, &*reader.map().unwrap()), (&b"abc"[..], &b"aXc"[..]), "a mapping changed under its holder");
    }

    #[test]
    fn files_are_linked_between_storages() {
        let (one, two) = (Memory::new(), Memory::new());
        one.publish("a", b"abc").unwrap();
        assert!(one.link_into("a", &two, "b").unwrap());
        assert_eq!(two.open_read("b").unwrap().links().unwrap(), 2);
        one.remove("a").unwrap();
        assert_eq!((&*two.open_read("b").unwrap().map().unwrap(), two.open_read("b").unwrap().links().unwrap()), (&b"abc"[..], 1));
    }

    #[test]
    fn absurd_lengths_are_errors() {
        let memory = Memory::new();
        let writer = memory.create("a").unwrap();
        assert!(writer.allocate(u64::MAX).is_err() && writer.set_len(u64::MAX).is_err() && writer.write_at(u64::MAX, b"ab").is_err());
        assert_eq!(memory.open_read("a").unwrap().len().unwrap(), 0);
    }
}
