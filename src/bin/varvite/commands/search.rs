//! search: the k nearest records of each query.

use std::{
    io::{BufReader, IsTerminal, Stdin, Write, stderr, stdin, stdout},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value as Json, json};
use varvite::{CollectionSnapshot, Explanation, Hit};

use super::{Place, read};
use crate::{
    failure::{Failure, Outcome},
    ids::{IdOptions, readable},
    input::{Vectors, lines::Lines},
    json,
    output::{right, shown, table},
    progress::Progress,
    text::{counted, distance, excerpt, grouped, size},
};

/// Queries that are answered together: enough to share each row that is read, few enough to see answers soon.
const QUERIES_AT_ONCE: usize = 64;

/// Find the nearest records, exactly unless you ask otherwise
///
/// Distances ascend: l2 is the squared Euclidean distance, cosine is 1 − cos, dot is the negated inner product.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("query").required(true).multiple(false))]
#[command(after_help = "Examples:
  varvite search db verses --id kjv:Genesis:1:1 -k 5
  varvite search db verses --vector queries.npy -k 10 --json > answers.jsonl
  echo '[0.1, 0.2, 0.3]' | varvite search db verses --stdin")]
pub(crate) struct Search {
    #[command(flatten)]
    place: Place,
    /// The query is the vector of this record
    #[arg(long, group = "query")]
    id: Option<String>,
    /// Each row of this .npy or .fvecs file is a query
    #[arg(long, group = "query", value_name = "FILE")]
    vector: Option<PathBuf>,
    /// Each line of standard input is a query, a JSON array of numbers
    #[arg(long, group = "query")]
    stdin: bool,
    /// How many records
    #[arg(short, long = "top", value_name = "K", allow_negative_numbers = true, default_value_t = 10, value_parser = clap::builder::RangedI64ValueParser::<usize>::new().range(1..))]
    k: usize,
    /// Only records at most this far away
    #[arg(long, value_name = "DISTANCE", allow_negative_numbers = true)]
    within: Option<f32>,
    /// Compare only four bits an element, and score this many of the records that come first by them: faster, and may miss some; `recall` tells how many
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedI64ValueParser::<usize>::new().range(1..=varvite::Search::APPROXIMATE_MAX as i64))]
    approximate: Option<usize>,
    /// Threads that share the work
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::builder::RangedI64ValueParser::<usize>::new().range(1..=1024))]
    threads: usize,
    /// Tell on standard error how many records were compared, how many of them scored in full, and how long it took
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    ids: IdOptions,
    /// One JSON object a query: {"query":0,"hits":[{"id":"…","distance":…}]}; a distance that has left the range of f32 is the string
    /// "Infinity", "-Infinity" or "NaN"
    #[arg(long)]
    json: bool,
}

impl Search {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let collection = read(&self.place)?;
        let mut answers = Answers { collection: &collection, search: &self, next: 0, titled: self.id.is_none() };
        if let Some(id) = &self.id {
            let id = self.ids.id_encoding.decode(id.as_bytes()).map_err(Failure::Refused)?;
            let row = collection
                .get(&id)?
                .ok_or_else(|| Failure::missing(format!("there is no record {} in '{}'", readable(&id), self.place.collection)))?;
            return answers.give(&row, out);
        }
        match &self.vector {
            Some(path) => answers.give_file(path, out),
            None => answers.give_lines(Lines::new(BufReader::with_capacity(1 << 18, stdin()), Path::new("standard input")), out),
        }
    }
}

fn explained(explanation: &Explanation) -> String {
    let Explanation { queries, rows, coded, bytes, candidates, scored, threads, instructions, elapsed, .. } = explanation;
    let by_codes = if *coded == 0 {
        String::new()
    } else {
        format!(" ({} of them by codes, which left {})", grouped(*coded), counted(*candidates, "candidate"))
    };
    format!(
        "{} compared with {}{by_codes}, {} read, {} scored in full; {}, {instructions:?}, {:.1} ms",
        counted(*queries, "query"),
        counted(*rows, "record"),
        size(*bytes),
        grouped(*scored),
        counted(*threads as u64, "thread"),
        elapsed.as_secs_f64() * 1e3
    )
}

struct Answers<'a> {
    collection: &'a CollectionSnapshot,
    search: &'a Search,
    next: u64,
    titled: bool,
}

impl Answers<'_> {
    fn give_file(&mut self, path: &Path, out: &mut dyn Write) -> Outcome {
        let name = path.display();
        let mut vectors = Vectors::open(path)?
            .ok_or_else(|| Failure::usage(format!("'{name}' does not end in .npy or .fvecs, so its format is unknown")))?;
        let dimension = self.collection.dimension();
        if let Some(found) = vectors.dimension().filter(|found| *found != dimension) {
            return Err(Failure::refused(format!(
                "the queries of '{name}' have {}, the dimension of the collection is {}",
                counted(found as u64, "element"),
                grouped(dimension as u64)
            )));
        }
        self.titled = vectors.rows() > 1;
        // Where the answers are seen, they tell the progress themselves.
        let mut progress = (!stdout().is_terminal()).then(|| Progress::new("searching", vectors.rows()));
        let mut queries = Vec::new();
        loop {
            let read = vectors.read_rows(QUERIES_AT_ONCE, &mut queries)?;
            if read == 0 {
                break;
            }
            self.give(&queries, out)?;
            queries.clear();
            progress.iter_mut().for_each(|progress| progress.advance(read as u64));
        }
        Ok(())
    }

    /// Answers every line as soon as no further one is waiting, so that a program can ask, read and ask again.
    fn give_lines(&mut self, mut lines: Lines<BufReader<Stdin>>, out: &mut dyn Write) -> Outcome {
        let dimension = self.collection.dimension();
        let mut queries = Vec::new();
        loop {
            let query = match lines.next_line()? {
                None => break,
                Some(line) if line.trim_ascii().is_empty() => Err("is empty: each line is a JSON array of numbers".to_owned()),
                Some(line) => {
                    serde_json::from_slice::<Json>(line).map_err(|error| json::complaint(&error)).and_then(|json| json::to_vector(&json))
                }
            };
            match query {
                Ok(query) if query.len() == dimension => queries.extend(query),
                Ok(query) => {
                    let (found, dimension) = (counted(query.len() as u64, "element"), grouped(dimension as u64));
                    return Err(lines.complaint(&format!("the query has {found}, the dimension of the collection is {dimension}")));
                }
                Err(what) => return Err(lines.complaint(&what)),
            }
            if queries.len() >= QUERIES_AT_ONCE * dimension || !lines.has_line_waiting() {
                self.give(&queries, out)?;
                out.flush()?;
                queries.clear();
            }
        }
        Ok(())
    }

    fn give(&mut self, queries: &[f32], out: &mut dyn Write) -> Outcome {
        if let Some(at) = queries.iter().position(|element| !element.is_finite()) {
            let query = grouped(self.next + (at / self.collection.dimension().max(1)) as u64);
            return Err(Failure::refused(format!(
                "query {query} (counted from 0) holds a NaN or an infinity, which is at no distance to anything"
            )));
        }
        let mut search = varvite::Search::nearest(self.search.k).threads(self.search.threads);
        if let Some(distance) = self.search.within {
            search = search.within(distance);
        }
        if let Some(scored) = self.search.approximate {
            search = search.approximate(scored);
        }
        let (answers, explanation) = self.collection.explain(&search, queries)?;
        if self.search.explain {
            writeln!(stderr(), "{}", explained(&explanation))?;
        }
        for hits in answers {
            if self.search.json {
                self.print_json(&hits, out)?;
            } else {
                self.print_table(&hits, out)?;
            }
            self.next += 1;
        }
        Ok(())
    }

    fn print_json(&self, hits: &[Hit], out: &mut dyn Write) -> Outcome {
        // Whole before it is printed: half a line would be no JSON.
        let hits = hits
            .iter()
            .map(|hit| Ok(json!({"id": self.search.ids.id_encoding.encode(&hit.id)?, "distance": json::distance(hit.distance)})))
            .collect::<Outcome<Vec<_>>>()?;
        writeln!(out, "{}", json!({"query": self.next, "hits": hits}))?;
        Ok(())
    }

    fn print_table(&self, hits: &[Hit], out: &mut dyn Write) -> Outcome {
        if self.titled {
            writeln!(out, "query {}", grouped(self.next))?;
        }
        let mut table = table(&["rank", "distance", "id", "document"]);
        for (rank, hit) in (1_u64..).zip(hits) {
            let document = match self.collection.get(&hit.id)? {
                Some(row) => row.document()?.unwrap_or_default(),
                None => String::new(),
            };
            let id = self.search.ids.id_encoding.show(&hit.id);
            table.add_row([right(grouped(rank)), right(distance(hit.distance)), id.into(), excerpt(&document, 90).into()]);
        }
        writeln!(out, "{}", shown(&table))?;
        Ok(())
    }
}
