//! varvite beside the stores that people would embed instead: the same workloads for all, in one run. `run` beside this crate builds and starts it.

mod cell;
mod data;
mod dot;
mod engine;
mod engines;
mod measure;
mod plan;
mod probe;
mod run;
mod workloads;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a plan and writes a line of JSON for each measurement.
    Run(Box<RunArguments>),
    /// One measurement, told as JSON; prints its metrics.
    #[command(hide = true)]
    Cell { spec: String },
    /// The process that `reopen-killed` kills.
    #[command(hide = true)]
    Writer { spec: String },
}

#[derive(Clone, Copy, ValueEnum)]
enum Plan {
    Quick,
    Full,
}

#[derive(clap::Args)]
struct RunArguments {
    #[arg(long, value_enum, default_value = "quick")]
    plan: Plan,
    /// Where the databases are made: on the file system to measure.
    #[arg(long)]
    directory: PathBuf,
    /// Where the results go.
    #[arg(long)]
    out: PathBuf,
    /// Go on with what the results do not have yet; they must be of the same commit.
    #[arg(long)]
    resume: bool,
    /// Real vectors: a NumPy file of f32.
    #[arg(long, requires = "ids")]
    vectors: Option<PathBuf>,
    /// Their ids, one a line.
    #[arg(long)]
    ids: Option<PathBuf>,
    /// Python with the packages of python/requirements.txt; without it the stores that need it are left out.
    #[arg(long, requires = "runner")]
    python: Option<PathBuf>,
    #[arg(long)]
    runner: Option<PathBuf>,
    /// Only these engines, separated by commas; the machine is probed in any case.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only stages whose name begins so.
    #[arg(long)]
    stage: Option<String>,
    /// Only these workloads, separated by commas.
    #[arg(long, value_delimiter = ',')]
    workload: Vec<String>,
    /// Start nothing new after so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// What is measured, for the header.
    #[arg(long, default_value = "unknown")]
    commit: String,
}

fn run(arguments: RunArguments) -> engine::Result<()> {
    let (plan, mut groups) = match arguments.plan {
        Plan::Quick => ("quick", plan::quick()),
        Plan::Full => ("full", plan::full()),
    };
    for group in &mut groups {
        group.retain(|stage| arguments.stage.as_ref().is_none_or(|name| stage.name.starts_with(name.as_str())));
        group.retain(|stage| !stage.real || arguments.vectors.is_some());
        for stage in group {
            stage.workloads.retain(|name| arguments.workload.is_empty() || arguments.workload.iter().any(|wanted| wanted == name));
            if let (true, Some(vectors), Some(ids)) = (stage.real, &arguments.vectors, &arguments.ids) {
                let data = data::Data::real(vectors, ids, stage.rows)?;
                (stage.rows, stage.dimension) = (data.rows, data.dimension);
            }
        }
    }
    std::fs::create_dir_all(&arguments.directory)?;
    let runner = run::Runner {
        groups,
        directory: arguments.directory,
        out: arguments.out,
        resume: arguments.resume,
        vectors: arguments.vectors,
        ids: arguments.ids,
        python: arguments.python.zip(arguments.runner),
        only: arguments.only,
        minutes: arguments.minutes,
        commit: arguments.commit,
        plan: plan.to_owned(),
    };
    runner.run()
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run(*arguments),
        Command::Cell { spec } => measure_cell(&spec),
        Command::Writer { spec } => serde_json::from_str(&spec).map_err(Into::into).and_then(workloads::reopen::write),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the metrics, or the error as one of them: the run goes on either way.
fn measure_cell(spec: &str) -> engine::Result<()> {
    let metrics = cell::Cell::new(serde_json::from_str(spec)?).and_then(|cell| cell.run());
    println!("{}", metrics.map_or_else(|error| json!({ "error": error.to_string() }), serde_json::Value::Object));
    Ok(())
}
