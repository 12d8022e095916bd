use super::{
    batch::{Action, BatchOperation, Patch, Write, WriteBatch},
    group::{Effect, Group, Placed, Resolved, Standing, Undo, Victim},
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{batch::Operation, payload},
    types::{BATCH_BYTES_MAX, CollectionId, Ordinal, Payload},
    version::{Catalog, CollectionMeta, Found, Reading},
};

/// The record a write finds.
struct Existing {
    ordinal: Ordinal,
    payload: Vec<u8>,
    /// Only read when the write has no vector.
    vector: Vec<u8>,
    victim: Victim,
}

/// Resolves a batch against what exists and the batches before it in the group. A refused batch leaves the group as it was.
pub(crate) fn resolve(group: &mut Group, batch: &WriteBatch) -> Result<()> {
    let mut undo = Undo::default();
    let mut resolved = Resolved::default();
    resolved.body.reserve(batch.bytes());
    for (number, operations) in batch.operations.chunks(Reading::LOOK_AHEAD).enumerate() {
        let mut found = look_ahead(group, batch, operations).into_iter();
        for (index, operation) in (number * Reading::LOOK_AHEAD..).zip(operations) {
            let result = match operation {
                BatchOperation::Write(write) => {
                    let found = found.next().unwrap_or(Ok(None));
                    resolve_write(group, &mut undo, &mut resolved, batch, write, found)
                }
                schema => change_schema(group, &mut undo, &mut resolved, schema),
            };
            if let Err(error) = result.and_then(|()| check_size(&resolved)) {
                group.revert(undo);
                return Err(if batch.operations.len() > 1 { named(error, index) } else { error });
            }
        }
    }
    group.batches.push(resolved);
    group.undos.push(undo);
    Ok(())
}

/// What the writes of some operations find before the group.
fn look_ahead(group: &Group, batch: &WriteBatch, operations: &[BatchOperation]) -> Vec<Result<Option<Found>>> {
    let records = operations.iter().filter_map(|operation| match operation {
        BatchOperation::Write(write) => Some((write.collection, batch.id(write))),
        _ => None,
    });
    group.reading.find_many(&records.collect::<Vec<_>>())
}

fn named(error: Error, index: usize) -> Error {
    if matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::NotFound | ErrorKind::AlreadyExists) {
        Error::new(error.kind(), format!("operation {index} of the batch: {error}"))
    } else {
        error
    }
}

fn check_size(resolved: &Resolved) -> Result<()> {
    if resolved.body.len() > BATCH_BYTES_MAX {
        return Err(Error::invalid(format!("a batch beyond {BATCH_BYTES_MAX} bytes refused: split it or use `bulk_load`")));
    }
    Ok(())
}

fn change_schema(group: &mut Group, undo: &mut Undo, resolved: &mut Resolved, operation: &BatchOperation) -> Result<()> {
    undo.catalog.get_or_insert_with(|| group.catalog.clone());
    resolve_schema(&mut group.catalog, resolved, operation)?;
    resolved.schema_changed = true;
    resolved.existed.push(!matches!(operation, BatchOperation::Create { .. }));
    Ok(())
}

fn resolve_schema(catalog: &mut Catalog, resolved: &mut Resolved, operation: &BatchOperation) -> Result<()> {
    let taken = |catalog: &Catalog, name: &str| match catalog.by_name(name) {
        Some(_) => Err(Error::new(ErrorKind::AlreadyExists, format!("a collection named {name:?} exists already"))),
        None => Ok(()),
    };
    let known = |catalog: &Catalog, name: &str| {
        catalog.by_name(name).map(|meta| meta.id).ok_or_else(|| Error::not_found(format!("there is no collection named {name:?}")))
    };
    match operation {
        BatchOperation::Create { name, dimension, metric } => {
            taken(catalog, name)?;
            let id = catalog.next_collection.max(1);
            if id == CollectionId::MAX {
                return Err(Error::invalid("no collection number is left"));
            }
            Operation::CreateCollection { id, dimension: *dimension, metric: *metric, name }.encode(&mut resolved.body);
            catalog.create(CollectionMeta { id, name: name.clone(), dimension: *dimension, metric: *metric });
        }
        BatchOperation::Drop { name } => {
            let id = known(catalog, name)?;
            Operation::DropCollection { id }.encode(&mut resolved.body);
            catalog.remove(id);
        }
        BatchOperation::Rename { from, to } => {
            let id = known(catalog, from)?;
            if from != to {
                taken(catalog, to)?;
            }
            Operation::RenameCollection { id, name: to }.encode(&mut resolved.body);
            catalog.rename(id, to);
        }
        BatchOperation::Write(_) => {}
    }
    Ok(())
}

fn resolve_write(
    group: &mut Group,
    undo: &mut Undo,
    resolved: &mut Resolved,
    batch: &WriteBatch,
    write: &Write,
    found: Result<Option<Found>>,
) -> Result<()> {
    let id = batch.id(write);
    let show = id.escape_ascii();
    if group.catalog.get(write.collection).is_none() {
        return Err(Error::not_found(format!("the collection with number {} was dropped", write.collection)));
    }
    let existing = find(group, resolved, batch, write, found)?;
    resolved.existed.push(existing.is_some());
    let existing = match (write.action, existing) {
        (Action::Insert, Some(_)) => return Err(Error::new(ErrorKind::AlreadyExists, format!("record {show} exists already"))),
        (Action::Update, None) => return Err(Error::not_found(format!("there is no record {show}"))),
        (Action::Delete, None) => return Ok(()),
        (_, existing) => existing,
    };
    if write.action == Action::Delete {
        Operation::Delete { collection: write.collection, id }.encode(&mut resolved.body);
        let end = resolved.body.len();
        let victim = existing.map_or(Victim::None, |existing| existing.victim);
        resolved.effects.push(Effect { collection: write.collection, id: end - id.len()..end, put: None, victim });
        *resolved.net.entry(write.collection).or_default() -= 1;
        group.stand(undo, write.collection, id, Standing::Deleted);
        return Ok(());
    }
    let replaces = existing.is_some();
    let existing = existing.unwrap_or_else(|| {
        let ordinal = group.catalog.free_ordinal(write.collection).unwrap_or_default();
        undo.ordinals.extend(group.catalog.ordinal_used(write.collection, ordinal).map(|before| (write.collection, before)));
        Existing { ordinal, payload: Vec::new(), vector: Vec::new(), victim: Victim::None }
    });
    let payload = match &write.patch {
        None => existing.payload,
        Some(patch) => patched(&existing.payload, patch)?,
    };
    let vector = match batch.vector(write) {
        Some(vector) => vector,
        None if replaces => &existing.vector,
        None => return Err(Error::invalid(format!("record {show} does not exist yet: it needs a vector"))),
    };
    let (collection, ordinal) = (write.collection, existing.ordinal);
    Operation::Put { collection, replaces, ordinal, id, payload: &payload, vector }.encode(&mut resolved.body);
    let end = resolved.body.len();
    let vector = end - vector.len()..end;
    let payload = vector.start - payload.len()..vector.start;
    let id = payload.start - 4 - id.len()..payload.start - 4;
    let placed = Placed { ordinal, batch: group.batches.len(), payload, vector };
    resolved.effects.push(Effect { collection, id, put: Some(placed.clone()), victim: existing.victim });
    if !replaces {
        *resolved.net.entry(collection).or_default() += 1;
    }
    group.stand(undo, collection, batch.id(write), Standing::Present(placed));
    Ok(())
}

fn patched(old: &[u8], patch: &Patch) -> Result<Vec<u8>> {
    let mut new = if old.is_empty() || patch.is_complete() { Payload::default() } else { payload::decode(old)? };
    patch.apply(&mut new);
    let mut bytes = Vec::new();
    payload::encode(&new, &mut bytes)?;
    Ok(bytes)
}

/// Finds the record a write is about, in the group or `before` it, and as much of it as the write leaves as it is.
fn find(group: &Group, resolved: &Resolved, batch: &WriteBatch, write: &Write, before: Result<Option<Found>>) -> Result<Option<Existing>> {
    let deletes = write.action == Action::Delete;
    let wants_payload = !deletes && !write.patch.as_ref().is_some_and(|patch| patch.is_complete());
    let wants_vector = !deletes && batch.vector(write).is_none();
    if let Some(standing) = group.standing(write.collection, batch.id(write)) {
        let Standing::Present(placed) = standing else { return Ok(None) };
        let body = group.batches.get(placed.batch).map_or(&resolved.body, |batch| &batch.body);
        let part = |range: &std::ops::Range<usize>, wanted: bool| {
            if wanted { body.get(range.clone()).unwrap_or_default().to_vec() } else { Vec::new() }
        };
        let (payload, vector) = (part(&placed.payload, wants_payload), part(&placed.vector, wants_vector));
        return Ok(Some(Existing { ordinal: placed.ordinal, payload, vector, victim: Victim::Active }));
    }
    let copy = |bytes: &[u8], wanted: bool| if wanted { bytes.to_vec() } else { Vec::new() };
    match before? {
        None => Ok(None),
        Some(Found::Memtable(row)) => {
            let active = group.reading.view.frozen.as_ref().is_none_or(|frozen| row.sequence() > frozen.sequence);
            let victim = if active { Victim::Active } else { Victim::Frozen };
            let (payload, vector) = (copy(row.payload(), wants_payload), copy(&row.vector_bytes(), wants_vector));
            Ok(Some(Existing { ordinal: row.ordinal(), payload, vector, victim }))
        }
        Some(Found::Segment(live, row)) => {
            let payload = if wants_payload { live.segment.payload(row)?.unwrap_or_default() } else { Vec::new() };
            let vector = if wants_vector { live.segment.row(row)?.as_bytes().to_vec() } else { Vec::new() };
            // A delete does not need it, and must work on a record whose ordinal is damaged.
            let ordinal = if deletes { 0 } else { live.segment.ordinal(row)? };
            Ok(Some(Existing { ordinal, payload, vector, victim: Victim::Segment(live, row) }))
        }
    }
}
