//! Store three embeddings, find the nearest, close, open again.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "an example names its own directory")]

use varvite::{Database, Fields, Metric, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::temp_dir().join(format!("varvite-quickstart-{}", std::process::id()));
    let db = Database::open(&directory, Options::default())?;
    let fruit = db.create_collection("fruit", 3, Metric::Cosine)?;
    fruit.insert("apple", Fields::vector(&[0.9, 0.1, 0.0]).with_document("round and red"))?;
    fruit.insert("cherry", Fields::vector(&[0.8, 0.3, 0.1]).with_document("small and red"))?;
    fruit.insert("banana", &[0.1, 0.9, 0.2])?;
    db.close()?;

    let db = Database::open(&directory, Options::default())?;
    let fruit = db.collection("fruit")?;
    let apple = fruit.get("apple")?.ok_or("the apple is gone")?;
    assert_eq!(*apple, [0.9, 0.1, 0.0]); // the same bits, borrowed from the file
    for hit in fruit.search(&apple, 2)? {
        println!("{:.4}  {}", hit.distance, String::from_utf8_lossy(&hit.id));
    }
    drop(apple);
    db.close()?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
