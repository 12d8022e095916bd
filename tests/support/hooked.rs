//! A storage that calls back in the middle of an operation: what "meanwhile" means, without threads.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};

use varvite::io::{Environment, FileInfo, Lock, ReadFile, Storage, WriteFile};

type Hook = Box<dyn FnOnce() -> io::Result<()> + Send>;
/// Each with how the name of the file begins whose sync it waits for.
type Hooks = Arc<Mutex<VecDeque<(&'static str, Hook)>>>;

/// Passes everything on to another storage. The hooks run once each, in their order, before a file is synced; an error is that of the sync.
#[derive(Clone)]
pub struct Hooked {
    inner: Arc<dyn Storage>,
    hooks: Hooks,
    /// How the names begin of files that cannot be removed.
    stuck: Arc<Mutex<Option<&'static str>>>,
    removals_take: Arc<Mutex<Duration>>,
    environment: Environment,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl Hooked {
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        let environment = inner.environment().clone();
        Self { inner, hooks: Hooks::default(), stuck: Arc::default(), removals_take: Arc::default(), environment }
    }

    /// One that says of itself to lie on a network file system.
    pub fn on_a_network(inner: Arc<dyn Storage>) -> Self {
        let environment = Environment { network: true, ..inner.environment().clone() };
        Self { environment, ..Self::new(inner) }
    }

    pub fn at_next_segment(&self, hook: impl FnOnce() + Send + 'static) {
        self.at_next_sync("seg-", move || {
            hook();
            Ok(())
        });
    }

    pub fn at_next_sync(&self, name: &'static str, hook: impl FnOnce() -> io::Result<()> + Send + 'static) {
        self.hooks.lock().unwrap().push_back((name, Box::new(hook)));
    }

    /// From now on no file with a name that begins like this can be removed.
    pub fn refuse_removals(&self, name: &'static str) {
        *self.stuck.lock().unwrap() = Some(name);
    }

    /// From now on a removal takes so long.
    pub fn slow_removals(&self, time: Duration) {
        *self.removals_take.lock().unwrap() = time;
    }

    /// Whether all hooks have run.
    pub fn has_run(&self) -> bool {
        self.hooks.lock().unwrap().is_empty()
    }

    fn watch(&self, name: &str, file: Arc<dyn WriteFile>) -> Arc<dyn WriteFile> {
        Arc::new(Watched { file, name: name.to_owned(), hooks: Arc::clone(&self.hooks) })
    }
}

struct Watched {
    file: Arc<dyn WriteFile>,
    name: String,
    hooks: Hooks,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl WriteFile for Watched {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        // Taken before it runs: what it does may come through here.
        let hook = {
            let mut hooks = self.hooks.lock().unwrap();
            if hooks.front().is_some_and(|(name, _)| self.name.starts_with(name)) { hooks.pop_front() } else { None }
        };
        if let Some((_, hook)) = hook {
            hook()?;
        }
        self.file.sync_data()
    }
}

impl Storage for Hooked {
    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        Ok(self.watch(name, self.inner.create(name)?))
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        self.inner.open_write(name)
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        self.inner.open_read(name)
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.inner.publish(name, bytes)
    }

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.inner.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.stuck.lock().unwrap().is_some_and(|stuck| name.starts_with(stuck)) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let time = *self.removals_take.lock().unwrap();
        std::thread::sleep(time);
        self.inner.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.inner.sync_names()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        self.inner.lock(name)
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.inner.is_locked(name)
    }

    fn link_into(&self, name: &str, target: &dyn Storage, target_name: &str) -> io::Result<bool> {
        self.inner.link_into(name, target, target_name)
    }

    fn environment(&self) -> &Environment {
        &self.environment
    }
}
