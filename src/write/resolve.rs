use std::ops::Range;

use super::{
    batch::{Action, BatchOperation, Patch, Write, WriteBatch},
    body::Body,
    group::{Group, Resolved, Standing, Victim},
};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        batch::{Operation, Parts, settle_put},
        payload,
    },
    types::{BATCH_BYTES_MAX, CollectionId, Ordinal, Payload},
    version::{Catalog, CollectionMeta, Found, Reading},
};

/// The record a write finds, and as much of it as the write leaves as it is.
#[derive(Default)]
struct Existing {
    ordinal: Ordinal,
    payload: Vec<u8>,
    vector: Vec<u8>,
    victim: Victim,
}

/// Resolves a batch against what exists and the batches before it in the group. A refused batch leaves the group as it was.
pub(crate) fn resolve(group: &mut Group, batch: WriteBatch) -> Result<()> {
    let WriteBatch { operations, body } = batch;
    group.begin(Resolved { body: Body::new(body), ..Resolved::default() });
    let result = resolve_all(group, &operations);
    if result.is_err() {
        group.revert_last();
    }
    result
}

fn resolve_all(group: &mut Group, operations: &[BatchOperation]) -> Result<()> {
    for (number, some) in operations.chunks(Reading::LOOK_AHEAD).enumerate() {
        let mut found = look_ahead(group, some).into_iter();
        for (index, operation) in (number * Reading::LOOK_AHEAD..).zip(some) {
            let result = match operation {
                BatchOperation::Write(write) => resolve_write(group, write, found.next().unwrap_or(Ok(None))),
                schema => change_schema(group, schema),
            };
            if let Err(error) = result.and_then(|()| check_size(group)) {
                return Err(if operations.len() > 1 { named(error, index) } else { error });
            }
        }
    }
    Ok(())
}

/// What the writes of some operations find before the group.
fn look_ahead(group: &Group, operations: &[BatchOperation]) -> Vec<Result<Option<Found>>> {
    let records = operations.iter().filter_map(|operation| match operation {
        BatchOperation::Write(write) => Some((write.collection, id_of(group, write))),
        _ => None,
    });
    group.reading.find_many(&records.collect::<Vec<_>>())
}

/// The id of a write of the batch that was begun last.
fn id_of<'a>(group: &'a Group, write: &Write) -> &'a [u8] {
    group.batches.last().map_or(&[], |batch| batch.body.source(write.parts.id.clone()))
}

fn named(error: Error, index: usize) -> Error {
    if matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::NotFound | ErrorKind::AlreadyExists) {
        Error::new(error.kind(), format!("operation {index} of the batch: {error}"))
    } else {
        error
    }
}

fn check_size(group: &Group) -> Result<()> {
    if group.batches.last().is_some_and(|batch| batch.body.bytes().len() > BATCH_BYTES_MAX) {
        return Err(Error::invalid(format!("a batch beyond {BATCH_BYTES_MAX} bytes refused: split it or use `bulk_load`")));
    }
    Ok(())
}

fn change_schema(group: &mut Group, operation: &BatchOperation) -> Result<()> {
    let Group { catalog, batches, .. } = group;
    let Some(batch) = batches.last_mut() else { return Ok(()) };
    batch.catalog_before.get_or_insert_with(|| catalog.clone());
    resolve_schema(catalog, &mut batch.body, operation)?;
    batch.existed.push(!matches!(operation, BatchOperation::Create { .. }));
    Ok(())
}

fn resolve_schema(catalog: &mut Catalog, body: &mut Body, operation: &BatchOperation) -> Result<()> {
    let taken = |catalog: &Catalog, name: &str| match catalog.by_name(name) {
        Some(_) => Err(Error::new(ErrorKind::AlreadyExists, format!("a collection named {name:?} exists already"))),
        None => Ok(()),
    };
    let known = |catalog: &Catalog, name: &str| {
        catalog.by_name(name).map(|meta| meta.id).ok_or_else(|| Error::not_found(format!("there is no collection named {name:?}")))
    };
    let mut encode = |operation: &Operation<'_>| body.compose(|_, out| operation.encode(out));
    match operation {
        BatchOperation::Create { name, dimension, metric, codes } => {
            taken(catalog, name)?;
            let id = catalog.next_collection.max(1);
            if id == CollectionId::MAX {
                return Err(Error::invalid("no collection number is left"));
            }
            encode(&Operation::CreateCollection { id, dimension: *dimension, metric: *metric, codes: *codes, name });
            catalog.create(CollectionMeta { id, name: name.clone(), dimension: *dimension, metric: *metric, codes: *codes });
        }
        BatchOperation::Drop { name } => {
            let id = known(catalog, name)?;
            encode(&Operation::DropCollection { id });
            catalog.remove(id);
        }
        BatchOperation::Rename { from, to } => {
            let id = known(catalog, from)?;
            if from != to {
                taken(catalog, to)?;
            }
            encode(&Operation::RenameCollection { id, name: to });
            catalog.rename(id, to);
        }
        BatchOperation::Write(_) => {}
    }
    Ok(())
}

fn resolve_write(group: &mut Group, write: &Write, found: Result<Option<Found>>) -> Result<()> {
    let (collection, id) = (write.collection, id_of(group, write));
    let show = || id.escape_ascii();
    if group.catalog.get(collection).is_none() {
        return Err(Error::not_found(format!("the collection with number {collection} was dropped")));
    }
    let standing = group.standing(collection, id);
    let existing = find(group, write, standing, found)?;
    let existed = existing.is_some();
    match (write.action, existed) {
        (Action::Insert, true) => return Err(Error::new(ErrorKind::AlreadyExists, format!("record {} exists already", show()))),
        (Action::Update, false) => return Err(Error::not_found(format!("there is no record {}", show()))),
        (Action::Upsert, false) if !write.has_vector() => {
            return Err(Error::invalid(format!("record {} does not exist yet: it needs a vector", show())));
        }
        _ => {}
    }
    let mut existing = existing.unwrap_or_default();
    let deletes = write.action == Action::Delete;
    let Group { catalog, batches, .. } = group;
    let Some(batch) = batches.last_mut() else { return Ok(()) };
    batch.existed.push(existed);
    if deletes && !existed {
        return Ok(());
    }
    let change = batch.changes.entry(collection).or_default();
    if deletes || !existed {
        change.net += if deletes { -1 } else { 1 };
    }
    if !existed {
        existing.ordinal = catalog.free_ordinal(collection).unwrap_or_default();
        let before = catalog.ordinal_used(collection, existing.ordinal);
        change.next_ordinal = change.next_ordinal.or(before);
    }
    let (at, parts) = if existing.payload.is_empty() && existing.vector.is_empty() {
        let at = batch.body.keep(write.encoded.clone());
        (at, write.parts.moved(write.encoded.start, at))
    } else {
        compose(&mut batch.body, write, &existing)?
    };
    if !deletes {
        settle_put(batch.body.rest_mut(at), existed, existing.ordinal);
    }
    group.add(standing, collection, parts, (!deletes).then_some(existing.ordinal), existing.victim);
    Ok(())
}

/// Encodes a put that keeps something of the record that it finds. Returns where it begins, and where its parts are.
fn compose(body: &mut Body, write: &Write, existing: &Existing) -> Result<(usize, Parts)> {
    let payload = match &write.patch {
        Some(patch) => patched(&existing.payload, patch)?,
        None if write.keeps_payload => existing.payload.clone(),
        None => body.source(write.parts.payload.clone()).to_vec(),
    };
    let mut lens = (0, 0);
    let at = body.compose(|source, out| {
        let part = |range: &Range<usize>| source.get(range.clone()).unwrap_or_default();
        let id = part(&write.parts.id);
        let vector = if write.has_vector() { part(&write.parts.vector) } else { &existing.vector };
        Operation::Put { collection: write.collection, replaces: false, ordinal: 0, id, payload: &payload, vector }.encode(out);
        lens = (id.len(), vector.len());
    });
    Ok((at, Parts::of_put(at, lens.0, payload.len(), lens.1)))
}

fn patched(old: &[u8], patch: &Patch) -> Result<Vec<u8>> {
    let mut new = if old.is_empty() { Payload::default() } else { payload::decode(old)? };
    patch.apply(&mut new);
    let mut bytes = Vec::new();
    payload::encode(&new, &mut bytes)?;
    Ok(bytes)
}

/// Finds the record a write is about, in the group or `before` it.
fn find(group: &Group, write: &Write, standing: Standing, before: Result<Option<Found>>) -> Result<Option<Existing>> {
    let deletes = write.action == Action::Delete;
    let wants_vector = !deletes && !write.has_vector();
    let copy = |bytes: &[u8], wanted: bool| if wanted { bytes.to_vec() } else { Vec::new() };
    if let Some((batch, last)) = group.last_write(standing) {
        let existing = |ordinal| Existing {
            ordinal,
            payload: copy(batch.part(&last.parts.payload), write.keeps_payload),
            vector: copy(batch.part(&last.parts.vector), wants_vector),
            victim: Victim::Active,
        };
        return Ok(last.put.map(existing));
    }
    match before? {
        None => Ok(None),
        Some(Found::Memtable(row)) => {
            let active = group.reading.view.frozen.as_ref().is_none_or(|frozen| row.sequence() > frozen.sequence);
            let victim = if active { Victim::Active } else { Victim::Frozen };
            let (payload, vector) = (copy(row.payload(), write.keeps_payload), copy(&row.vector_bytes(), wants_vector));
            Ok(Some(Existing { ordinal: row.ordinal(), payload, vector, victim }))
        }
        Some(Found::Segment(live, row)) => {
            let payload = if write.keeps_payload { live.segment.payload(row)?.unwrap_or_default() } else { Vec::new() };
            let vector = if wants_vector { live.segment.row(row)?.as_bytes().to_vec() } else { Vec::new() };
            // A delete does not need it, and must work on a record whose ordinal is damaged.
            let ordinal = if deletes { 0 } else { live.segment.ordinal(row)? };
            Ok(Some(Existing { ordinal, payload, vector, victim: Victim::Segment(live, row) }))
        }
    }
}
