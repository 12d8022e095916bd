//! Everything overwritten ten times: the directory must not grow.

use std::{fs, path::Path, time::Instant};

use varvite::{Collection, Database};

use super::{Sample, VERSES, identical_vectors, open, report::Report, share};
use crate::{
    failure::{Failure, Outcome},
    text::size,
};

const ROUNDS: usize = 10;
const RECORDS_A_BATCH: usize = 100;

pub(super) fn overwrite(directory: &Path, sample: &Sample, report: &mut Report<'_>) -> Outcome {
    report.title("Overwrite everything ten times")?;
    let db = open(directory, false)?;
    let verses = db.collection(VERSES)?;
    db.wait_idle()?;
    let before = directory_size(directory)?;
    let started = Instant::now();
    let mut largest = before;
    // Signs change every round and are back after the last: the sample is again what must be there.
    for round in 1..=ROUNDS {
        let sign = if round % 2 == 1 { -1.0 } else { 1.0 };
        write_round(&db, &verses, sample, sign)?;
        largest = largest.max(directory_size(directory)?);
    }
    db.wait_idle()?;
    let seconds = started.elapsed().as_secs_f64();
    let after = directory_size(directory)?;
    let live = db.stats()?.live_bytes;
    let identical = identical_vectors(&verses, sample)?;
    db.close()?;
    let written = (ROUNDS * sample.len() * sample.dimension * 4) as u64;
    report.line(&format!(
        "{} of vectors written in {seconds:.2} s. The directory: {} before, at most {} meanwhile, {} after.",
        size(written),
        size(before),
        size(largest),
        size(after)
    ))?;
    let rows = sample.len();
    report.check("vectors are still bit-exact", identical == rows, share(identical, rows));
    let bound = live + live / 5 + (1 << 20);
    report.check(
        "the directory stays within 1.2 × live + 1 MiB",
        after <= bound,
        format!("{} → {} (live {})", size(before), size(after), size(live)),
    );
    Ok(())
}

fn write_round(db: &Database, verses: &Collection, sample: &Sample, sign: f32) -> Outcome {
    let all: Vec<_> = sample.verses().collect();
    for some in all.chunks(RECORDS_A_BATCH) {
        let rows: Vec<Vec<f32>> = some.iter().map(|verse| verse.vector.iter().map(|element| element * sign).collect()).collect();
        let mut batch = db.batch();
        for (verse, row) in some.iter().zip(&rows) {
            batch.upsert(verses, verse.id, row.as_slice())?;
        }
        batch.commit()?.wait()?;
    }
    Ok(())
}

/// Bytes that the files of a directory occupy on the device.
fn directory_size(directory: &Path) -> Outcome<u64> {
    let failed = |error| Failure::file("look at", directory, &error);
    let mut bytes = 0;
    for entry in fs::read_dir(directory).map_err(failed)? {
        // A file that background work has just removed takes no room.
        if let Ok(metadata) = entry.map_err(failed)?.metadata() {
            bytes += occupied(&metadata);
        }
    }
    Ok(bytes)
}

#[cfg(unix)]
fn occupied(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn occupied(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}
