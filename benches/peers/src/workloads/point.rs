//! Point reads. Every row that is found is multiplied with a query: a mapped engine must not win by not reading.

use std::{
    hint::black_box,
    sync::Barrier,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    cell::Cell,
    data::{Data, Random},
    dot::dot,
    engine::{Engine, Mode, Reader, Result},
    measure::{Latencies, Meter, Metrics},
};

/// Which ids are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    Hit,
    Miss,
    Zipf,
}

/// Ids a thread asks for in turn, made before the clock starts.
const ASKED: usize = 1_000_000;
/// Single operations that are timed for the percentiles.
const TIMED: usize = 200_000;

pub fn ids(data: &Data, pick: Pick, stream: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(stream);
    let asked = ASKED.min(4 * data.rows);
    let mut pick_one = || match pick {
        Pick::Hit => data.id(random.below(data.rows)),
        Pick::Miss => data.missing_id(random.below(data.rows)),
        Pick::Zipf => {
            // Ranks are spread over the ids, so that what is hot is not next to each other.
            let rank = random.zipf(data.rows);
            data.id(crate::data::mix(rank as u64) as usize % data.rows)
        }
    };
    (0..asked).map(|_| pick_one()).collect()
}

pub fn query(data: &Data) -> Vec<f32> {
    data.vector(0, 0).to_vec()
}

/// Reads every row once: caches are warm, and checksums that are checked at first touch have been.
pub fn warm(engine: &dyn Engine) -> Result<()> {
    let mut sum = 0u64;
    engine.reader()?.scan(b"", &mut |_, row| {
        sum += row.iter().step_by(64).map(|byte| u64::from(*byte)).sum::<u64>();
        true
    })?;
    black_box(sum);
    Ok(())
}

/// Asks for the ids in turn for so long: how many, in how many seconds.
fn ask(reader: &mut dyn Reader, ids: &[Vec<u8>], query: &[f32], seconds: f64) -> Result<(usize, f64, usize)> {
    let (mut asked, mut found, mut sum) = (0, 0, 0.0);
    let (started, length) = (Instant::now(), Duration::from_secs_f64(seconds));
    'asking: loop {
        for id in ids {
            found += usize::from(reader.get(id, &mut |row| sum += dot(row, query))?);
            asked += 1;
            if asked % 64 == 0 && started.elapsed() > length {
                break 'asking;
            }
        }
    }
    black_box(sum);
    Ok((asked, started.elapsed().as_secs_f64(), found))
}

pub fn timed(reader: &mut dyn Reader, ids: &[Vec<u8>], query: &[f32], seconds: f64) -> Result<Latencies> {
    let (mut latencies, mut sum) = (Latencies::default(), 0.0);
    let (started, length) = (Instant::now(), Duration::from_secs_f64(seconds));
    for id in ids.iter().cycle().take(TIMED) {
        latencies.time(|| reader.get(id, &mut |row| sum += dot(row, query)))?;
        if started.elapsed() > length {
            break;
        }
    }
    black_box(sum);
    Ok(latencies)
}

pub fn get(cell: &Cell, pick: Pick, threads: u64) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let query = query(&cell.data);
    let asked: Vec<Vec<Vec<u8>>> = (0..threads).map(|thread| ids(&cell.data, pick, 100 + thread)).collect();
    cell.ensure_loaded()?;
    let meter = Meter::start(&cell.path("main"));
    let engine = cell.open_loaded(Mode::Buffered)?;
    warm(&*engine)?;
    let barrier = Barrier::new(threads as usize);
    let results: Vec<Result<(usize, f64, usize)>> = std::thread::scope(|scope| {
        let run = |ids: &[Vec<u8>]| {
            let mut reader = engine.reader()?;
            barrier.wait();
            ask(&mut *reader, ids, &query, cell.spec.seconds)
        };
        let workers: Vec<_> = asked.iter().map(|ids| scope.spawn(move || run(ids))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err("a reader panicked".into()))).collect()
    });
    let (mut per_second, mut nanoseconds) = (0.0, 0.0);
    for result in results {
        let (asked, seconds, found) = result?;
        if (pick == Pick::Miss) != (found == 0) || (pick != Pick::Miss && found != asked) {
            return Err(format!("{found} of {asked} ids were found").into());
        }
        per_second += asked as f64 / seconds;
        nanoseconds += seconds * 1e9 / asked as f64 / threads as f64;
    }
    metrics.insert("per_s".into(), json!(per_second));
    metrics.insert("mean_ns".into(), json!(nanoseconds));
    if threads == 1 {
        timed(&mut *engine.reader()?, &asked[0], &query, cell.spec.seconds)?.report("get", &mut metrics);
    }
    meter.stop(&mut metrics);
    Ok(metrics)
}

pub fn multi_get(cell: &Cell, size: usize) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let query = query(&cell.data);
    let ids = ids(&cell.data, Pick::Hit, 7);
    let engine = cell.open_loaded(Mode::Buffered)?;
    warm(&*engine)?;
    let mut reader = engine.reader()?;
    let (mut asked, mut sum) = (0, 0.0);
    let (started, length) = (Instant::now(), Duration::from_secs_f64(cell.spec.seconds));
    'asking: loop {
        for ids in ids.chunks_exact(size.min(ids.len())) {
            let found = reader.multi_get(ids, &mut |row| sum += dot(row, &query))?;
            // A batched read may give equal ids one answer each: all must be there.
            if found != ids.len() {
                return Err(format!("{found} of {} ids were found", ids.len()).into());
            }
            asked += found;
            if started.elapsed() > length {
                break 'asking;
            }
        }
    }
    black_box(sum);
    metrics.insert("mean_ns".into(), json!(started.elapsed().as_nanos() as f64 / asked as f64));
    Ok(metrics)
}
