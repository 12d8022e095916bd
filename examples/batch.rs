//! Batches: many records at one moment, across collections; a snapshot that does not move; waiting for durability once.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "an example names its own directory")]

use varvite::{Database, Durability, Fields, Metadata, Metric, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("varvite-batch-{}", std::process::id()));
    let db = Database::open(&directory, Options::default())?;
    let pages = db.create_collection("pages", 2, Metric::L2)?;
    let images = db.create_collection("images", 2, Metric::L2)?;

    // Visible together or not at all, in whichever collections.
    let mut batch = db.batch();
    batch.insert(&pages, "p1", Fields::vector(&[1.0, 0.0]).with_metadata(Metadata::new().with("words", 120)))?;
    batch.insert(&images, "i1", &[0.0, 1.0])?;
    batch.commit()?.wait()?;

    // A snapshot shows one moment, whatever is written afterwards.
    let before = db.snapshot()?;

    // Buffered commits return at once; waiting for the last makes all of them durable.
    let mut last = None;
    for number in 0..1000_u16 {
        let mut batch = db.batch();
        batch.upsert(&pages, format!("p{number}"), &[f32::from(number), 1.0])?;
        batch.durability(Durability::Buffered);
        last = Some(batch.commit()?);
    }
    if let Some(commit) = last {
        commit.wait()?;
    }

    // A refused operation refuses its whole batch: p1 exists, so i2 is not written.
    let mut batch = db.batch();
    batch.insert(&images, "i2", &[0.5, 0.5])?;
    batch.insert(&pages, "p1", &[9.0, 9.0])?;
    let error = batch.commit().err().ok_or("the second p1 was accepted")?;
    println!("refused: {error}");
    assert!(!images.contains("i2")?);

    println!("pages: {} in the snapshot, {} now", before.collection("pages")?.count()?, pages.count()?);
    assert_eq!((before.collection("pages")?.count()?, pages.count()?), (1, 1000));
    drop(before);
    db.close()?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
