//! What the tour prints in the end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::check::{AppDid, Failed, Findings};
use crate::journal::Event;

/// The result of a tour.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    /// How long the clients asked.
    pub load: Duration,
    pub findings: Findings,
    pub kills: u64,
    pub editions: u32,
    pub elapsed: Duration,
}

/// Contradictions that are printed; one is as bad as a thousand.
const SHOWN: usize = 20;

impl Report {
    pub fn is_right(&self) -> bool {
        self.findings.contradictions.is_empty()
    }

    pub fn print(&self, as_json: bool) {
        let text = if as_json { format!("{:#}\n", self.to_json()) } else { self.table() };
        // Whoever read it may be gone; the exit status tells.
        let _ = io::stdout().write_all(text.as_bytes());
        for what in self.findings.contradictions.iter().take(SHOWN) {
            let _ = writeln!(io::stderr(), "quickstart: WRONG: {what}");
        }
        if self.findings.contradictions.len() > SHOWN {
            let _ =
                writeln!(io::stderr(), "quickstart: and {} more", self.findings.contradictions.len() - SHOWN);
        }
        if !self.is_right() {
            let _ = writeln!(io::stderr(), "quickstart: repeat with --seed {} --keep", self.seed);
        }
    }

    fn table(&self) -> String {
        let mut lines = Vec::new();
        let findings = &self.findings;
        lines.push(String::new());
        lines.push(format!(
            "{:<32} {:>12} {:>11} {:>9} {:>9} {:>9}",
            "answered, every byte compared", "transactions", "per second", "p50 ms", "p99 ms", "p99.9 ms"
        ));
        for calls in &findings.kinds {
            let [p50, p99, p999] = quantiles(&calls.times).map(|time| format!("{time:.3}"));
            let (count, rate) = (calls.times.len(), self.rate(calls.times.len()));
            lines.push(format!("{:<32} {count:>12} {rate:>11.0} {p50:>9} {p99:>9} {p999:>9}", calls.name));
        }
        let answered: u64 = findings.kinds.iter().map(|calls| calls.times.len()).sum();
        lines.push(format!("{:<32} {answered:>12} {:>11.0}", "all", self.rate(answered)));
        lines.push(format!(
            "{:<32} {:>12}   by state, what the app's journal says, and the platform when asked",
            "failed",
            findings.failed.len()
        ));
        for ((state, app, said), count) in self.failures() {
            lines.push(format!("  {state:<30} {count:>12}   {app}; {said}"));
        }
        lines.push(format!(
            "{:<32} {:>12}   of which the apps finished {}",
            "cut off with a killed client", findings.cut_off, findings.cut_off_finished
        ));
        let verdict = if self.is_right() {
            "every transaction was right, or failed in a state that the journals confirm".to_owned()
        } else {
            format!("{} CONTRADICTIONS", findings.contradictions.len())
        };
        lines.push(format!(
            "{} workers and 1 client killed, {} configurations published, {:.1} s in all: {verdict}",
            self.kills,
            self.editions,
            self.elapsed.as_secs_f64(),
        ));
        lines.join("\n") + "\n"
    }

    fn failures(&self) -> BTreeMap<(&'static str, &'static str, &'static str), u64> {
        let mut groups = BTreeMap::new();
        for failed in &self.findings.failed {
            *groups.entry((failed.state.text(), failed.app.text(), said(failed))).or_default() += 1;
        }
        groups
    }

    fn to_json(&self) -> Value {
        let findings = &self.findings;
        let kinds = findings.kinds.iter().map(|calls| {
            let [p50, p99, p999] = quantiles(&calls.times);
            json!({
                "kind": calls.name, "transactions": calls.times.len(), "per_second": self.rate(calls.times.len()),
                "p50_ms": p50, "p99_ms": p99, "p99_9_ms": p999,
            })
        });
        let failed = findings.failed.iter().map(|failed| {
            json!({
                "transaction": failed.transaction.to_string(), "kind": failed.kind, "state": failed.state.text(),
                "app": failed.app.text(), "platform": said(failed), "error": failed.note,
            })
        });
        json!({
            "seed": self.seed, "seconds": self.load.as_secs_f64(), "transactions": findings.transactions(),
            "kinds": kinds.collect::<Vec<_>>(), "failed": failed.collect::<Vec<_>>(),
            "cut_off": findings.cut_off, "cut_off_finished": findings.cut_off_finished,
            "workers_killed": self.kills, "configurations": self.editions,
            "contradictions": findings.contradictions,
        })
    }

    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.load.as_secs_f64()
    }
}

/// In milliseconds.
fn quantiles(times: &Histogram<u64>) -> [f64; 3] {
    [0.5, 0.99, 0.999].map(|quantile| times.value_at_quantile(quantile) as f64 / 1e6)
}

fn said(failed: &Failed) -> &'static str {
    failed.said.map_or("not asked", Event::text)
}

impl AppDid {
    fn text(self) -> &'static str {
        match self {
            AppDid::NotBegin => "never began",
            AppDid::Begin => "began, did not end",
            AppDid::End => "ended",
        }
    }
}

impl Event {
    fn text(self) -> &'static str {
        match self {
            Event::Begin => "began",
            Event::End => "ended",
            Event::Right => "right",
            Event::Wrong => "wrong",
            Event::NotSent => "not sent",
            Event::Suspicious => "suspicious",
            Event::Responded => "responded",
            Event::Hung => "hung",
            Event::SaysExecuted => "executed",
            Event::SaysAborted => "aborted",
            Event::SaysRejected => "rejected",
            Event::SaysUnknown => "not known",
            Event::SaysForgotten => "not known any more",
            Event::SaysRunning => "running",
            Event::SaysNothing => "no answer",
        }
    }
}
