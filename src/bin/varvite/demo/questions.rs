//! Five searches, each compared with a plain double-precision scan of the sample.

use std::{path::Path, time::Instant};

use varvite::Hit;

use super::{Sample, VERSES, report::Report, sample::Verse};
use crate::{
    commands::open_reader,
    failure::{Failure, Outcome},
    text::excerpt,
};

const QUESTIONS: [&str; 5] =
    ["kjv:Psalms:23:1", "kjv:Genesis:1:3", "kjv:1_Samuel:17:49", "kjv:Ecclesiastes:3:2", "kjv:1_Corinthians:13:13"];
/// The verse itself and the three nearest others.
const K: usize = 4;

pub(super) fn ask(directory: &Path, sample: &Sample, report: &mut Report<'_>) -> Outcome {
    report.title("Search (each verse, and the three nearest others by cosine)")?;
    let db = open_reader(directory)?;
    let verses = db.collection(VERSES)?;
    let mut exact = 0;
    let mut microseconds = 0.0;
    for id in QUESTIONS {
        let verse = sample.find(id.as_bytes()).ok_or_else(|| Failure::refused(format!("the sample lacks {id}")))?;
        let started = Instant::now();
        let hits = verses.search(verse.vector, K)?;
        microseconds += started.elapsed().as_secs_f64() * 1e6;
        exact += usize::from(is_exact(sample, verse, &hits));
        report.line(&format!("{} ({})", excerpt(verse.text(), 100), place(verse.id)))?;
        for hit in hits.iter().filter(|hit| hit.id != verse.id).take(K - 1) {
            let text = verses.get(&hit.id)?.map(|row| row.document()).transpose()?.flatten().unwrap_or_default();
            report.line(&format!("  {:.4}  {} ({})", hit.distance, excerpt(&text, 100), place(&hit.id)))?;
        }
    }
    let asked = QUESTIONS.len();
    report.line(&format!("{asked} searches in {microseconds:.0} µs."))?;
    report.check("searches give the exact neighbours", exact == asked, format!("{exact} of {asked}"));
    Ok(())
}

/// "1 Samuel 17:49" for "kjv:1_Samuel:17:49".
fn place(id: &[u8]) -> String {
    let text = String::from_utf8_lossy(id).replace('_', " ");
    let mut parts = text.split(':').skip(1);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(book), Some(chapter), Some(verse)) => format!("{book} {chapter}:{verse}"),
        _ => text,
    }
}

/// Whether the hits are the nearest verses: ties, as between repeated verses, may fall either way.
fn is_exact(sample: &Sample, query: Verse<'_>, hits: &[Hit]) -> bool {
    let mut truth: Vec<f64> = sample.verses().map(|verse| cosine(query.vector, verse.vector)).collect();
    truth.sort_by(f64::total_cmp);
    let Some(farthest) = truth.get(K - 1) else { return false };
    let in_order = hits.is_sorted_by(|a, b| a.distance <= b.distance);
    let near = hits.iter().all(|hit| {
        sample.find(&hit.id).is_some_and(|verse| {
            let distance = cosine(query.vector, verse.vector);
            distance <= farthest + 1e-6 && (distance - f64::from(hit.distance)).abs() <= 1e-6
        })
    });
    hits.len() == K && in_order && near
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    1.0 - dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}
