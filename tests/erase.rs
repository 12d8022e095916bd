//! Deleted means gone: nothing of a deleted record stays in any file of the directory, neither as it was written nor compressed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

mod support;

use support::state::{difference, observe};
use varvite::{Background, Database, Fields, Metric, Options};

/// The story: a rewrite of a file gave each of its segments the new segments built for it by counting, one each. A segment whose documents
/// compress well was split in two, because uncompressed bytes were compared with compressed ones; so the next collection got the second half of
/// the one before it, and lost its own records. `verify` called it damage if the dimensions differed; if not, nobody did.
#[test]
fn a_rewrite_of_several_collections_in_one_file_keeps_each_record_where_it_belongs() {
    let options = Options { background: Background::Inline, ..Options::default() };
    let db = Database::in_memory(options).unwrap();
    let mut batch = db.batch();
    for name in ["a", "b", "c"] {
        batch.create_collection(name, 4, Metric::L2).unwrap();
    }
    batch.commit().unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        let collection = db.collection(name).unwrap();
        for number in 0..40_u16 {
            let fields = Fields::from(vec![f32::from(number); 4]).with_document(format!("{name}{number} ").repeat(200));
            collection.insert(format!("{name}{number:02}"), fields).unwrap();
        }
    }
    db.flush().unwrap();
    for name in names {
        db.collection(name).unwrap().delete(format!("{name}07")).unwrap();
    }
    let before = observe(&db).unwrap();
    let rewritten = db.collection("a").unwrap().purge(&["a07"]).unwrap().files_rewritten;
    assert_eq!(rewritten.len(), 1);
    let after = observe(&db).unwrap();
    assert!(after == before, "the rewrite changed\n  {}", difference(&before, &after));
    db.compact().unwrap();
    let after = observe(&db).unwrap();
    assert!(after == before, "compaction changed\n  {}", difference(&before, &after));
}
