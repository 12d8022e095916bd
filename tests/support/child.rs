//! Processes that run a test function of this same binary, so that they can be killed or lose their rights.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

/// A command that runs one test of this binary, alone.
pub fn command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
}

/// Says a line to the parent, in one write. The test harness leaves half a line behind: a line of the child's own starts with `> `.
pub fn say(line: &str) {
    let said = std::io::stdout().lock().write_all(format!("\n> {line}\n").as_bytes());
    if said.is_err() {
        // Nobody listens any more.
        std::process::exit(1);
    }
}

/// Waits for the parent to say a line; `false` once it has hung up.
pub fn hear() -> bool {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0)
}

/// The next line that a child says; `None` once it has ended. Half a line, cut by a kill, is none.
pub fn next_line(lines: &mut BufReader<ChildStdout>) -> Option<String> {
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 || !line.ends_with('\n') {
            return None;
        }
        if let Some(said) = line.trim_end().strip_prefix("> ") {
            return Some(said.to_owned());
        }
    }
}

/// A child that was started and what it says. Dropping it kills it.
pub struct Talk {
    pub child: Child,
    pub lines: BufReader<ChildStdout>,
}

impl Talk {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The child's next line; `None` once it has ended.
    pub fn next(&mut self) -> Option<String> {
        next_line(&mut self.lines)
    }

    /// Waits for a line that starts so and returns the rest of it.
    pub fn expect(&mut self, start: &str) -> String {
        let line = self.next().unwrap_or_else(|| panic!("the child ended instead of saying {start:?}"));
        line.strip_prefix(start).unwrap_or_else(|| panic!("the child said {line:?} instead of {start:?}")).trim().to_owned()
    }

    /// Says a line to the child, which waits for it with [`hear`].
    pub fn tell(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// SIGKILL; no zombie is left.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.kill();
    }
}
