//! The platform as its clients see it: real processes, sockets and signals.
//!
//! The binary plays two parts. Started as `--serve SETTINGS`, it is a platform; else it runs the tests, which start
//! it as a platform. Set `IBP_LOG=debug` to see what the platforms log.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs)]

mod bad_input;
mod basics;
mod ending;
mod fairness;
mod faults;
mod peer;
mod served;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("--serve") {
        return served::serve(&arguments.next().unwrap_or_default());
    }
    let mut trials = Vec::new();
    for (theme, tests) in [
        ("basics", basics::TESTS),
        ("bad_input", bad_input::TESTS),
        ("ending", ending::TESTS),
        ("fairness", fairness::TESTS),
        ("faults", faults::TESTS),
    ] {
        for (name, test) in tests {
            trials.push(Trial::test(format!("{theme}::{name}"), || {
                test();
                Ok(())
            }));
        }
    }
    let mut arguments = Arguments::from_args();
    // Some tests measure how long others wait: one at a time.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test by its name.
type Test = (&'static str, fn());

/// Lists test functions by their names.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use tests;
