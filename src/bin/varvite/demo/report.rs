//! What the demo says while it runs, and the table it ends with.

use std::io::Write;

use serde_json::json;

use crate::{
    failure::{Failure, Outcome},
    output::{shown, table},
};

struct Check {
    what: &'static str,
    measured: String,
    passed: bool,
}

pub(super) struct Report<'a> {
    out: &'a mut dyn Write,
    checks: Vec<Check>,
    /// For programs: nothing is said before the end.
    json: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self { out, checks: Vec::new(), json }
    }

    /// Begins a part; what was said before is shown at once.
    pub(super) fn title(&mut self, title: &str) -> Outcome {
        if self.json {
            return Ok(());
        }
        writeln!(self.out, "\n{title}")?;
        Ok(self.out.flush()?)
    }

    pub(super) fn line(&mut self, text: &str) -> Outcome {
        if self.json {
            return Ok(());
        }
        writeln!(self.out, "  {text}")?;
        Ok(self.out.flush()?)
    }

    pub(super) fn check(&mut self, what: &'static str, passed: bool, measured: String) {
        self.checks.push(Check { what, measured, passed });
    }

    /// Prints the table; a failure if any check failed.
    pub(super) fn finish(self) -> Outcome {
        let mut table = table(&["checked", "measured", "result"]);
        for check in &self.checks {
            table.add_row([check.what, &check.measured, if check.passed { "passed" } else { "FAILED" }]);
        }
        let all = self.checks.len();
        let failed = self.checks.iter().filter(|check| !check.passed).count();
        if self.json {
            let checks: Vec<_> = self
                .checks
                .iter()
                .map(|check| json!({"checked": check.what, "measured": check.measured, "passed": check.passed}))
                .collect();
            writeln!(self.out, "{}", json!({"passed": failed == 0, "checks": checks}))?;
        } else {
            writeln!(self.out, "\n{}", shown(&table))?;
        }
        if failed > 0 {
            return Err(Failure::refused(format!("{failed} of {all} checks failed")));
        }
        if !self.json {
            writeln!(self.out, "all {all} checks passed")?;
        }
        Ok(())
    }
}
