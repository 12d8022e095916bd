use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use rustix::io::Errno;

use super::{
    fault::{Gate, OperationKind, Passage},
    inode::{Change, Inode, next},
    journal::Journal,
};
use crate::{
    io::{Bytes, FileInfo, publish::check_name},
    sync::Arc,
};

/// Everything on the disk and in front of it. Each method is one operation.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) gate: Gate,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) inode_last: u64,
    /// The directory as everybody sees it.
    pub(super) names: BTreeMap<String, u64>,
    pub(super) durable_names: BTreeMap<String, u64>,
    pub(super) name_journal: Journal<NameChange>,
    pub(super) stamp: u64,
    pub(super) capacity: Option<u64>,
    pub(super) locked: BTreeSet<String>,
    /// The moments before operations that change the disk, while they are recorded.
    pub(super) crash_points: Option<Vec<(u64, Self)>>,
}

/// A change of the directory that a crash can lose on its own.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Add(String, u64),
    Remove(String),
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Add(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Remove(name) => drop(names.remove(name)),
        }
    }

    pub(super) fn name(&self) -> &str {
        let (Self::Add(name, _) | Self::Remove(name)) = self;
        name
    }
}

impl State {
    /// What a crash before the next operation needs to know. The number of that operation comes first.
    pub(super) fn crash_point(&self) -> (u64, Self) {
        let point = Self {
            inodes: self.inodes.iter().map(|(inode, file)| (*inode, file.crash_point())).collect(),
            inode_last: self.inode_last,
            durable_names: self.durable_names.clone(),
            name_journal: self.name_journal.clone(),
            stamp: self.stamp,
            capacity: self.capacity,
            ..Self::default()
        };
        (self.gate.operations, point)
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<u64> {
        self.gate.pass(OperationKind::Create, name, 0, 0)?;
        let inode = self.inode_last + 1;
        self.add_name(name, inode)?;
        self.inode_last = inode;
        self.inodes.insert(inode, Inode { handles: 1, ..Inode::default() });
        Ok(inode)
    }

    pub(super) fn open(&mut self, kind: OperationKind, name: &str) -> io::Result<u64> {
        self.gate.pass(kind, name, 0, 0)?;
        let inode = self.find(name)?;
        self.inode(inode)?.handles += 1;
        Ok(inode)
    }

    pub(super) fn close(&mut self, inode: u64) {
        if let Some(file) = self.inodes.get_mut(&inode) {
            file.handles = file.handles.saturating_sub(1);
            if file.handles == 0 && !self.named_inodes().contains(&inode) {
                self.inodes.remove(&inode);
            }
        }
    }

    pub(super) fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.gate.pass(OperationKind::Link, to, 0, 0)?;
        let inode = self.find(from)?;
        self.add_name(to, inode)
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.gate.pass(OperationKind::Remove, name, 0, 0)?;
        self.find(name)?;
        self.names.remove(name);
        self.name_journal.push(next(&mut self.stamp), NameChange::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn sync_names(&mut self) -> io::Result<()> {
        let passage = self.gate.pass(OperationKind::SyncNames, "", 0, 0)?;
        let result = if let Passage::FailedSync { keep_pages } = passage {
            self.name_journal.fail(|_| keep_pages);
            self.names = self.durable_names.clone();
            self.name_journal.entries().for_each(|entry| entry.change.apply(&mut self.names));
            Err(Errno::IO.into())
        } else {
            self.name_journal.sync().for_each(|change| change.apply(&mut self.durable_names));
            Ok(())
        };
        let named = self.named_inodes();
        self.inodes.retain(|inode, file| file.handles > 0 || named.contains(inode));
        result
    }

    pub(super) fn list(&mut self) -> io::Result<Vec<FileInfo>> {
        self.gate.pass(OperationKind::List, "", 0, 0)?;
        let len = |inode| self.inodes.get(inode).map_or(0, Inode::len);
        Ok(self.names.iter().map(|(name, inode)| FileInfo { name: name.clone(), len: len(inode) }).collect())
    }

    /// The lock file must be there.
    pub(super) fn lock(&mut self, name: &str) -> io::Result<()> {
        self.gate.pass(OperationKind::Lock, name, 0, 0)?;
        if self.locked.insert(name.to_owned()) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    pub(super) fn is_locked(&mut self, name: &str) -> io::Result<bool> {
        check_name(name)?;
        self.gate.pass(OperationKind::IsLocked, name, 0, 0)?;
        Ok(self.locked.contains(name))
    }

    /// Writes as much as goes at once.
    pub(super) fn write(&mut self, (inode, name): (u64, &str), offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut len = bytes.len();
        if let Passage::Short(short) = self.gate.pass(OperationKind::Write, name, offset, len as u64)? {
            len = len.min(short);
        }
        let end = offset.checked_add(len as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        // A device that fills up takes what still fits; only the next transfer is refused.
        let room = self.longest(inode)?.saturating_sub(offset);
        if end > self.inode(inode)?.len() && room < len as u64 {
            len = usize::try_from(room).unwrap_or(len);
            if len == 0 {
                return Err(Errno::NOSPC.into());
            }
        }
        let bytes: Arc<[u8]> = bytes.get(..len).unwrap_or(bytes).into();
        if !bytes.is_empty() {
            self.change(inode, Change::Write { offset, bytes })?;
        }
        Ok(len)
    }

    pub(super) fn allocate(&mut self, (inode, name): (u64, &str), len: u64) -> io::Result<()> {
        self.gate.pass(OperationKind::Allocate, name, 0, len)?;
        if len > self.inode(inode)?.len() { self.lengthen(inode, len) } else { Ok(()) }
    }

    pub(super) fn set_len(&mut self, (inode, name): (u64, &str), len: u64) -> io::Result<()> {
        self.gate.pass(OperationKind::SetLen, name, 0, len)?;
        match len.cmp(&self.inode(inode)?.len()) {
            std::cmp::Ordering::Less => self.change(inode, Change::Shorten(len)),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => self.lengthen(inode, len),
        }
    }

    pub(super) fn sync_data(&mut self, (inode, name): (u64, &str)) -> io::Result<()> {
        let passage = self.gate.pass(OperationKind::SyncData, name, 0, 0)?;
        let file = self.inode(inode)?;
        if let Passage::FailedSync { keep_pages } = passage {
            file.fail_sync(keep_pages);
            return Err(Errno::IO.into());
        }
        file.sync();
        Ok(())
    }

    /// Reads as much as goes at once; 0 at the end.
    pub(super) fn read(&mut self, (inode, name): (u64, &str), offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut len = buffer.len();
        if let Passage::Short(short) = self.gate.pass(OperationKind::Read, name, offset, len as u64)? {
            len = len.min(short);
        }
        let file = self.inode(inode)?;
        let len = len.min(usize::try_from(file.len().saturating_sub(offset)).unwrap_or(len));
        file.current.read(offset, buffer.get_mut(..len).unwrap_or_default())?;
        Ok(len)
    }

    pub(super) fn map(&mut self, (inode, name): (u64, &str)) -> io::Result<Bytes> {
        self.gate.pass(OperationKind::Map, name, 0, 0)?;
        Ok(self.inode(inode)?.map())
    }

    /// Length and number of names.
    pub(super) fn stat(&mut self, (inode, name): (u64, &str)) -> io::Result<(u64, u64)> {
        self.gate.pass(OperationKind::Stat, name, 0, 0)?;
        let links = self.names.values().filter(|named| **named == inode).count() as u64;
        Ok((self.inode(inode)?.len(), links))
    }

    pub(super) fn find(&self, name: &str) -> io::Result<u64> {
        check_name(name)?;
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn inode(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Bytes in use: the lengths of all files that have a name or a handle.
    pub(super) fn used(&self) -> u64 {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.iter().filter(|(inode, file)| file.handles > 0 || named.contains(inode)).map(|(_, file)| file.len()).sum()
    }

    /// Inodes that the directory may name after a crash.
    pub(super) fn inodes_after_crash(&self) -> BTreeSet<u64> {
        let added = self.name_journal.entries().filter_map(|entry| match entry.change {
            NameChange::Add(_, inode) => Some(inode),
            NameChange::Remove(_) => None,
        });
        self.durable_names.values().copied().chain(added).collect()
    }

    fn named_inodes(&self) -> BTreeSet<u64> {
        let mut inodes = self.inodes_after_crash();
        inodes.extend(self.names.values());
        inodes
    }

    fn add_name(&mut self, name: &str, inode: u64) -> io::Result<()> {
        check_name(name)?;
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.names.insert(name.to_owned(), inode);
        self.name_journal.push(next(&mut self.stamp), NameChange::Add(name.to_owned(), inode));
        Ok(())
    }

    fn change(&mut self, inode: u64, change: Change) -> io::Result<()> {
        let file = self.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
        file.change(&mut self.stamp, change)
    }

    fn lengthen(&mut self, inode: u64, len: u64) -> io::Result<()> {
        if len > self.longest(inode)? { Err(Errno::NOSPC.into()) } else { self.change(inode, Change::Lengthen(len)) }
    }

    /// How long the capacity lets a file become.
    fn longest(&mut self, inode: u64) -> io::Result<u64> {
        let len = self.inode(inode)?.len();
        Ok(self.capacity.map_or(u64::MAX, |capacity| len.saturating_add(capacity.saturating_sub(self.used()))))
    }
}
