//! The scenarios, and what each one has to reach.

use crate::load::Measured;
use crate::system::Connections;

/// One way of loading a server.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line and in records.
    pub name: &'static str,
    /// Whether a connection serves many calls.
    pub connections: Connections,
    /// Callers at once, each a thread that waits for its answer before it asks again.
    pub callers: usize,
    /// Worker processes of the system under test.
    pub workers: usize,
    /// Worker processes of the raw echo, whose workers own their connections: as many as callers, or more.
    pub raw_workers: usize,
    /// Further long connections that made a call each and then stay silent. The raw echo, which would need a
    /// worker for each, is measured without them.
    pub idle: usize,
    /// Whether server and callers share one core.
    pub pinned: bool,
    /// Whether one more caller holds a worker in long calls all the time. The raw echo is measured without it.
    pub stalled: bool,
    /// What must be reached over TCP.
    pub over_tcp: &'static [Target],
    /// What must be reached over the Unix socket; ratios are to the raw echo over TCP here too.
    pub over_unix: &'static [Target],
}

/// A bound on a figure.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Which figure.
    pub figure: Figure,
    /// Where it has to lie.
    pub bound: f64,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Calls a second, as a ratio to the raw echo's; at least the bound.
    Throughput,
    /// The 99th percentile, as a ratio to the raw echo's; at most the bound.
    P99,
    /// Slowest to fastest connection within a second; at least the bound.
    Fairness,
    /// The longest that any call took, in milliseconds; at most the bound.
    LongestWait,
}

impl Figure {
    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "calls/s",
            Self::P99 => "p99, ms",
            Self::Fairness => "fairness",
            Self::LongestWait => "longest, ms",
        }
    }

    /// The figure itself, in its own unit.
    #[must_use]
    pub fn of(self, measured: &Measured) -> f64 {
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        match self {
            Self::Throughput => measured.per_second,
            Self::P99 => milliseconds(measured.latency.value_at_quantile(0.99)),
            Self::Fairness => measured.fairness,
            Self::LongestWait => milliseconds(measured.latency.max()),
        }
    }

    /// A value of it as text.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Throughput => format!("{value:.0}"),
            Self::Fairness => format!("{value:.2}"),
            Self::P99 | Self::LongestWait => format!("{value:.3}"),
        }
    }

    /// Whether the bound is on the ratio to the raw echo, and not on the figure itself.
    #[must_use]
    pub fn is_relative(self) -> bool {
        matches!(self, Self::Throughput | Self::P99)
    }

    /// Whether more is better.
    #[must_use]
    pub fn grows(self) -> bool {
        matches!(self, Self::Throughput | Self::Fairness)
    }
}

impl Target {
    /// Whether `value`, a ratio where the figure is relative, lies where it has to.
    #[must_use]
    pub fn is_met_by(&self, value: f64) -> bool {
        if self.figure.grows() { value >= self.bound } else { value <= self.bound }
    }
}

const fn at_least(figure: Figure, bound: f64) -> Target {
    Target { figure, bound }
}

const fn at_most(figure: Figure, bound: f64) -> Target {
    Target { figure, bound }
}

const NEAR_RAW: &[Target] = &[at_least(Figure::Throughput, 0.85)];
const ABOVE_RAW: &[Target] = &[at_least(Figure::Throughput, 1.25)];
const MANY: &[Target] =
    &[at_least(Figure::Throughput, 0.85), at_most(Figure::P99, 2.5), at_least(Figure::Fairness, 0.6)];
const UNDISTURBED: &[Target] = &[at_most(Figure::LongestWait, 30.0)];

const PLAIN: Scenario = Scenario {
    name: "",
    connections: Connections::Long,
    callers: 16,
    workers: 4,
    raw_workers: 16,
    idle: 0,
    pinned: false,
    stalled: false,
    over_tcp: NEAR_RAW,
    over_unix: NEAR_RAW,
};

/// All scenarios, in the order in which they are run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "long-1-pinned",
        callers: 1,
        raw_workers: 4,
        pinned: true,
        over_unix: ABOVE_RAW,
        ..PLAIN
    },
    Scenario { name: "long-16-on-16", workers: 16, over_unix: ABOVE_RAW, ..PLAIN },
    Scenario { name: "long-16-on-4", over_unix: ABOVE_RAW, ..PLAIN },
    Scenario {
        name: "short-16",
        connections: Connections::Short,
        workers: 16,
        over_unix: ABOVE_RAW,
        ..PLAIN
    },
    Scenario {
        name: "short-1-pinned",
        connections: Connections::Short,
        callers: 1,
        raw_workers: 4,
        pinned: true,
        over_unix: ABOVE_RAW,
        ..PLAIN
    },
    Scenario { name: "long-64-on-4", callers: 64, raw_workers: 64, over_tcp: MANY, over_unix: MANY, ..PLAIN },
    Scenario { name: "idle-1000", idle: 1000, ..PLAIN },
    Scenario { name: "stalled-long", stalled: true, over_tcp: UNDISTURBED, over_unix: UNDISTURBED, ..PLAIN },
    Scenario {
        name: "stalled-short",
        connections: Connections::Short,
        stalled: true,
        over_tcp: UNDISTURBED,
        over_unix: UNDISTURBED,
        ..PLAIN
    },
];

impl Scenario {
    /// What `system` has to reach here; nothing for the raw echo, which is the measure.
    #[must_use]
    pub fn targets(&self, system: &str) -> &'static [Target] {
        match system {
            "raw" => &[],
            "ibp-unix" => self.over_unix,
            _ => self.over_tcp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_echo_has_a_worker_for_each_of_its_callers() {
        assert!(SCENARIOS.iter().all(|scenario| scenario.raw_workers >= scenario.callers));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }

    #[test]
    fn a_bound_looks_the_right_way() {
        assert!(at_least(Figure::Throughput, 0.85).is_met_by(0.9));
        assert!(!at_least(Figure::Throughput, 0.85).is_met_by(0.8));
        assert!(at_most(Figure::LongestWait, 30.0).is_met_by(14.0));
        assert!(!at_most(Figure::LongestWait, 30.0).is_met_by(31.0));
    }
}
