//! recall: how much of the exact answer an approximate search finds, on the user's own records.

use std::{io::Write, time::Duration};

use clap::Args;
use serde_json::json;
use varvite::{CollectionSnapshot, Hit};

use super::{Place, read};
use crate::{
    failure::{Failure, Outcome},
    output::{right, shown, table},
    text::{counted, grouped},
};

/// Tell how much of the exact answer an approximate search finds
///
/// Records of the collection, evenly spread, are the queries; each is left out of its own answer. A record counts as found if its distance is at most
/// that of the last exact one. Times are those of one query after the other, in one thread.
#[derive(Args)]
#[command(after_help = "Examples:
  varvite recall db verses
  varvite recall db verses --sample 1000 -k 10 --approximate 20,50,200 --json")]
pub(crate) struct Recall {
    #[command(flatten)]
    place: Place,
    /// How many records are queries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// How many records each answer has
    #[arg(short, long = "top", value_name = "K", default_value_t = 10, value_parser = clap::builder::RangedI64ValueParser::<usize>::new().range(1..varvite::Search::APPROXIMATE_MAX as i64))]
    k: usize,
    /// How many records an approximate search scores in full; several are tried one after the other
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [10, 20, 50, 200], value_parser = clap::builder::RangedI64ValueParser::<usize>::new().range(1..=varvite::Search::APPROXIMATE_MAX as i64))]
    approximate: Vec<usize>,
    /// One object: {"k":…,"queries":…,"exact":{"milliseconds":…},"approximate":[{"scored":…,"recall":…,"complete":…,"milliseconds":…}]}
    #[arg(long)]
    json: bool,
}

/// What all queries came to.
struct Tried {
    name: String,
    scored: usize,
    /// Shares of records found, and of queries of which all were.
    recall: f64,
    complete: f64,
    /// Of one query.
    time: Duration,
}

impl Recall {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let collection = read(&self.place)?;
        let count = collection.count()?;
        if count < 2 {
            return Err(Failure::refused(format!(
                "'{}' holds {}: recall needs two or more",
                self.place.collection,
                counted(count, "record")
            )));
        }
        let sample = self.sample.min(count);
        let mut queries = Vec::new();
        for (row, _) in collection.iter()?.zip(0..).filter(|(_, number)| is_sampled(*number, count, sample)) {
            let row = row?;
            // What holds NaN or infinities is at no distance to anything.
            if row.iter().all(|element| element.is_finite()) {
                queries.push((row.id().to_vec(), row.to_vec()));
            }
        }
        if queries.is_empty() {
            return Err(Failure::refused(format!("every record looked at in '{}' holds a NaN or an infinity", self.place.collection)));
        }
        let exact = self.answers(&collection, &queries, None)?;
        let mut all = Vec::new();
        for scored in self.approximate.iter().map(|scored| (*scored).max(self.k)) {
            let answers = self.answers(&collection, &queries, Some(scored))?;
            let shares = exact.0.iter().zip(&answers.0).map(|(exact, found)| share(exact, found));
            let (mut recall, mut complete) = (0.0, 0_u32);
            for share in shares {
                recall += share;
                complete += u32::from(share >= 1.0);
            }
            let (recall, complete) = (recall / queries.len() as f64, f64::from(complete) / queries.len() as f64);
            all.push(Tried { name: format!("approximate, {} scored", grouped(scored as u64)), scored, recall, complete, time: answers.1 });
        }
        if self.json { self.print_json(queries.len(), exact.1, &all, out) } else { self.print_table(queries.len(), exact.1, all, out) }
    }

    /// The answers without the queries' own records, and the time of one.
    fn answers(
        &self,
        collection: &CollectionSnapshot,
        queries: &[(Vec<u8>, Vec<f32>)],
        approximate: Option<usize>,
    ) -> Outcome<(Vec<Vec<Hit>>, Duration)> {
        let mut search = varvite::Search::nearest(self.k + 1);
        if let Some(scored) = approximate {
            // The query's own record comes first, and does not count.
            search = search.approximate((scored + 1).min(varvite::Search::APPROXIMATE_MAX));
        }
        let (mut all, mut time) = (Vec::with_capacity(queries.len()), Duration::ZERO);
        for (id, vector) in queries {
            let (mut answers, explanation) = collection.explain(&search, vector)?;
            let mut hits = answers.pop().unwrap_or_default();
            hits.retain(|hit| hit.id != *id);
            hits.truncate(self.k);
            all.push(hits);
            time += explanation.elapsed;
        }
        Ok((all, time / u32::try_from(queries.len()).unwrap_or(u32::MAX)))
    }

    fn print_json(&self, queries: usize, exact: Duration, all: &[Tried], out: &mut dyn Write) -> Outcome {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let of_one = |Tried { scored, recall, complete, time, .. }: &Tried| json!({"scored": scored, "recall": recall, "complete": complete, "milliseconds": milliseconds(*time)});
        let approximate: Vec<_> = all.iter().map(of_one).collect();
        let exact = json!({"milliseconds": milliseconds(exact)});
        writeln!(out, "{}", json!({"k": self.k, "queries": queries, "exact": exact, "approximate": approximate}))?;
        Ok(())
    }

    fn print_table(&self, queries: usize, exact: Duration, all: Vec<Tried>, out: &mut dyn Write) -> Outcome {
        let exact = Tried { name: "exact".into(), scored: 0, recall: 1.0, complete: 1.0, time: exact };
        let mut table = table(&["search", "recall", "complete", "ms a query"]);
        for Tried { name, recall, complete, time, .. } in [exact].into_iter().chain(all) {
            let percent = |share: f64| right(format!("{:.2} %", share * 100.0));
            table.add_row([name.into(), percent(recall), percent(complete), right(format!("{:.3}", time.as_secs_f64() * 1e3))]);
        }
        writeln!(out, "{}, k = {}", counted(queries as u64, "query"), grouped(self.k as u64))?;
        writeln!(out, "{}", shown(&table))?;
        Ok(())
    }
}

/// Whether a record is among so many that are evenly spread over all.
fn is_sampled(number: u64, count: u64, sample: u64) -> bool {
    let group = |number: u64| u128::from(number) * u128::from(sample) / u128::from(count.max(1));
    number == 0 || group(number) > group(number - 1)
}

/// Of an exact answer, the share that another one holds, or holds as good a record for.
fn share(exact: &[Hit], found: &[Hit]) -> f64 {
    let Some(last) = exact.last() else { return 1.0 };
    let good = found.iter().filter(|hit| hit.distance.total_cmp(&last.distance).is_le()).count();
    good as f64 / exact.len() as f64
}

#[cfg(test)]
mod tests {
    use super::is_sampled;

    #[test]
    fn samples_are_as_many_as_asked_for_and_evenly_spread() {
        for (count, sample) in [(1, 1), (199, 100), (1000, 7), (10, 10), (100, 99)] {
            let all: Vec<u64> = (0..count).filter(|number| is_sampled(*number, count, sample)).collect();
            assert_eq!(all.len() as u64, sample);
            assert!(all.windows(2).all(|pair| pair[1] - pair[0] <= count.div_ceil(sample)), "{all:?}");
        }
    }
}
