use super::{background::run_until_done, collection::Collection};
use crate::{
    compaction::{Choice, rewrite_choice},
    error::Result,
    flush::flush_all,
    format::names::segment_name,
    options::Durability,
    types::{CollectionId, FileNumber},
    version::Publisher,
    write::WriteBatch,
};

/// What a purge did, and what it cannot know.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PurgeReceipt {
    /// How many of the ids had a record.
    pub deleted: u64,
    /// Segment files that were rewritten and removed.
    pub files_rewritten: Vec<String>,
    /// Where bytes may still be, out of this database's reach.
    pub cannot_vouch_for: Vec<String>,
}

/// Deletes records and rewrites every file that holds a byte of them.
pub(crate) fn purge(collection: &Collection, id: CollectionId, ids: &[&[u8]]) -> Result<PurgeReceipt> {
    let writer = collection.inner().writer()?;
    let shared = &writer.shared;
    let _held = writer.hold()?;
    let mut batch = WriteBatch::default();
    for id in ids {
        batch.delete(collection.target(), id)?;
    }
    let outcome = collection.inner().commit(batch, Durability::Synced)?;
    // The log and the memtable go with the flush; superseded manifests went with its publication.
    flush_all(shared)?;
    let mut receipt =
        PurgeReceipt { deleted: outcome.existed.iter().filter(|existed| **existed).count() as u64, ..PurgeReceipt::default() };
    let (mut linked, mut chosen) = (Vec::new(), Vec::new());
    run_until_done(shared, || {
        let choice = rewrite_choice(shared, id, ids)?;
        chosen.clear();
        if let Some(Choice::Rewrite(files)) = &choice {
            chosen.clone_from(files);
            for number in files {
                let name = segment_name(*number);
                if shared.storage.open_read(&name).and_then(|file| file.links()).is_ok_and(|links| links > 1) {
                    linked.push(format!("{name}: it has another hard link (a checkpoint?)"));
                }
            }
        }
        Ok(choice)
    })?;
    // Those that began before the records were deleted have copied them, and give up or kill them at their end.
    shared.compacting.wait_for_present();
    linked.sort();
    linked.dedup();
    receipt.cannot_vouch_for = linked;
    let publisher = shared.publisher.lock();
    let kept = shared.remove_garbage().into_iter().map(|name| format!("{name}: it could not be removed; that is tried again"));
    receipt.cannot_vouch_for.extend(kept);
    vouch(&publisher, &chosen, &mut receipt);
    drop(publisher);
    receipt.cannot_vouch_for.push("files that other processes keep open".to_owned());
    receipt.cannot_vouch_for.push("blocks that the file system has freed and the device has not erased".to_owned());
    Ok(receipt)
}

/// Says of each file that was to be rewritten whether it is gone.
fn vouch(publisher: &Publisher, chosen: &[FileNumber], receipt: &mut PurgeReceipt) {
    for number in chosen {
        let name = segment_name(*number);
        if publisher.names(*number) {
            receipt.cannot_vouch_for.push(format!("{name}: it stays for the sake of a damaged segment, until `repair`"));
        } else {
            receipt.files_rewritten.push(name);
        }
    }
    let pinned = publisher.pinned_bytes();
    if pinned > 0 {
        receipt
            .cannot_vouch_for
            .push(format!("{pinned} bytes of removed files that snapshots, rows or iterators of this process keep open"));
    }
}
