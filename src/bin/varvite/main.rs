//! The `varvite` program: a database of embeddings from the command line.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program reads and writes files of its user; the engine goes through its own storage"
)]

use std::{
    io::{BufWriter, Write, stderr, stdout},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

mod commands;
mod demo;
mod failure;
mod files;
mod ids;
mod input;
mod json;
mod output;
mod progress;

use commands::{collections, export, import, maintain, records, search};
use failure::{Failure, Outcome};

/// A database of embeddings in one directory: durable, bit-exact, searched exactly.
///
/// Exit codes: 0 done, 1 failure, 2 usage, 3 damage found.
#[derive(Parser)]
#[command(name = "varvite", version, max_term_width = 110, subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Create(collections::Create),
    List(collections::List),
    Drop(collections::Drop),
    Rename(collections::Rename),
    Put(records::Put),
    Import(import::Import),
    Export(export::Export),
    Get(records::Get),
    Scan(records::Scan),
    Search(search::Search),
    Delete(records::Delete),
    Purge(records::Purge),
    Stats(maintain::Stats),
    Verify(maintain::Verify),
    Repair(maintain::Repair),
    Compact(maintain::Compact),
    Checkpoint(maintain::Checkpoint),
    Dump(maintain::Dump),
    Demo(demo::Demo),
    #[command(name = "demo-writer", hide = true)]
    DemoWriter(demo::crash::Writer),
}

impl Command {
    fn run(self, out: &mut dyn Write) -> Outcome {
        match self {
            Self::Create(command) => command.run(out),
            Self::List(command) => command.run(out),
            Self::Drop(command) => command.run(out),
            Self::Rename(command) => command.run(out),
            Self::Put(command) => command.run(out),
            Self::Import(command) => command.run(out),
            Self::Export(command) => command.run(out),
            Self::Get(command) => command.run(out),
            Self::Scan(command) => command.run(out),
            Self::Search(command) => command.run(out),
            Self::Delete(command) => command.run(out),
            Self::Purge(command) => command.run(out),
            Self::Stats(command) => command.run(out),
            Self::Verify(command) => command.run(out),
            Self::Repair(command) => command.run(out),
            Self::Compact(command) => command.run(out),
            Self::Checkpoint(command) => command.run(out),
            Self::Dump(command) => command.run(out),
            Self::Demo(command) => command.run(out),
            Self::DemoWriter(command) => command.run(out),
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    let mut out = BufWriter::new(stdout().lock());
    let done = arguments.command.run(&mut out);
    // What was printed before a failure is part of the answer.
    let flushed = out.flush().map_err(Failure::from);
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::OutputClosed) {
                let _ = writeln!(stderr(), "varvite: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Help and version go to standard output; usage errors to standard error, in the form of all others.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let _ = match text.strip_prefix("error: ") {
        Some(text) => write!(stderr(), "varvite: {text}"),
        None => write!(stderr(), "{text}"),
    };
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
