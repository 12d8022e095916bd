//! The `varvite` program: a database of embeddings from the command line.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program reads and writes files of its user; the engine goes through its own storage"
)]

use std::{
    env,
    io::{BufWriter, Write, stderr, stdout},
    process::ExitCode,
};

use clap::{Parser, Subcommand, error::ErrorKind};

mod commands;
mod demo;
mod failure;
mod files;
mod ids;
mod input;
mod json;
mod output;
mod progress;
mod text;

use commands::{collections, export, import, maintain, recall, records, search};
use failure::{Failure, Outcome};

/// A database of embeddings in one directory: durable, bit-exact, searched exactly.
///
/// Exit codes: 0 done, 1 failure, 2 usage, 3 damage found or records lost. Every command takes --json: it prints one object (a line each where
/// there are many), and a failure is one object on standard error, {"error":{"kind":"…","message":"…"}}.
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
    Recall(recall::Recall),
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
    /// Whether it prints only when it has changed something for good.
    fn changes(&self) -> bool {
        match self {
            Self::Create(_) | Self::Drop(_) | Self::Rename(_) | Self::Put(_) | Self::Import(_) | Self::Export(_) => true,
            Self::Delete(_) | Self::Purge(_) | Self::Repair(_) | Self::Compact(_) | Self::Checkpoint(_) => true,
            Self::List(_) | Self::Get(_) | Self::Scan(_) | Self::Search(_) | Self::Recall(_) | Self::Stats(_) | Self::Verify(_) => false,
            Self::Dump(_) | Self::Demo(_) | Self::DemoWriter(_) => false,
        }
    }

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
            Self::Recall(command) => command.run(out),
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
    let changes = arguments.command.changes();
    let mut out = BufWriter::new(stdout().lock());
    let done = arguments.command.run(&mut out);
    // What was printed before a failure is part of the answer.
    let flushed = out.flush().map_err(Failure::from);
    match done.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Output(_)) if changes => complain(&failure.noting("what the command had to do is done and stored")),
        Err(failure) => complain(&failure),
    }
}

/// Whether the command line asks for JSON; also where it cannot be parsed.
fn wants_json() -> bool {
    env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

fn complain(failure: &Failure) -> ExitCode {
    // If not even this can be written, the exit code has to do.
    let _ = match failure {
        Failure::OutputClosed => Ok(()),
        failure if wants_json() => writeln!(stderr(), "{}", failure.json()),
        failure => writeln!(stderr(), "varvite: {failure}"),
    };
    ExitCode::from(failure.exit_code())
}

/// Help and version go to standard output; usage errors to standard error, in the form of all others.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print().map_err(Failure::from) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => complain(&failure),
        };
    }
    let text =
        with_fitting_tip(error.to_string(), &env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>());
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    if wants_json() {
        let message = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        return complain(&Failure::usage(message));
    }
    let _ = match error.kind() {
        // Not a complaint but the help that stands in for it.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => write!(stderr(), "{text}"),
        _ => write!(stderr(), "varvite: {text}"),
    };
    ExitCode::from(2)
}

/// clap advises `-- -d` for a value that begins with a hyphen, which does not help where it is the value of an option.
fn with_fitting_tip(text: String, arguments: &[String]) -> String {
    for pair in arguments.windows(2) {
        let [option, value] = pair else { continue };
        let tip = format!("to pass '{value}' as a value, use '-- {value}'");
        if option.starts_with("--") && !option.contains('=') && text.contains(&tip) {
            return text.replace(&tip, &format!("to pass '{value}' as the value of '{option}', write '{option}={value}'"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
