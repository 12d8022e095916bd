use varvite::{Database, Fields, Metadata, Metric, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Database::open("library", Options::default())?;
    let verses = db.get_or_create_collection("verses", 4, Metric::Cosine)?;

    // Durable when it returns.
    let genesis = Fields::vector(&[0.9, 0.1, -0.0, 0.3])
        .with_document("In the beginning God created the heaven and the earth.")
        .with_metadata(Metadata::new().with("book", "Genesis").with("chapter", 1));
    verses.upsert("gen-1-1", genesis)?;
    verses.upsert_many(&["psa-23-1", "joh-1-1"], &[0.0, 1.0, 0.0, 0.0, 0.8, 0.2, 0.1, 0.3])?;

    // Borrowed from the store, to the last bit.
    let row = verses.get("gen-1-1")?.ok_or("it was inserted")?;
    assert_eq!(row[2].to_bits(), (-0.0_f32).to_bits());
    assert!(row.document()?.is_some_and(|text| text.starts_with("In the beginning")));

    // Exact, nearest first.
    let hits = verses.search(&[1.0, 0.1, 0.0, 0.3], 2)?;
    assert_eq!((hits[0].id.as_slice(), hits[1].id.as_slice()), (&b"gen-1-1"[..], &b"joh-1-1"[..]));

    // All or nothing, across collections.
    let mut batch = db.batch();
    batch.delete(&verses, "psa-23-1")?.upsert(&verses, "joh-1-1", &[0.7, 0.2, 0.1, 0.3])?;
    batch.commit()?;
    assert_eq!(verses.count()?, 2);
    db.close()?;
    Ok(())
}
