//! The tour's clock: progress, the signals that end it early, and the time after which it has hung.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Why the tour does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// A signal came.
    Signal(u8),
    /// It took longer than it may.
    Hung(Duration),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Signal(signal) => write!(f, "ended by signal {signal}"),
            Stopped::Hung(limit) => write!(f, "not finished after {} s: something hangs", limit.as_secs()),
        }
    }
}

impl std::error::Error for Stopped {}

/// See the module's text.
#[derive(Debug)]
pub struct Watch {
    began: Instant,
    limit: Duration,
    signal: Arc<AtomicUsize>,
    is_quiet: bool,
}

impl Watch {
    /// From here on INT, TERM and HUP are noted instead of ending the process.
    pub fn start(limit: Duration, is_quiet: bool) -> io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Self { began: Instant::now(), limit, signal, is_quiet })
    }

    /// To be called at least every 50 ms while something is waited for.
    pub fn check(&self) -> Result<(), Stopped> {
        match self.signal.load(Ordering::Relaxed) {
            0 if self.began.elapsed() > self.limit => Err(Stopped::Hung(self.limit)),
            0 => Ok(()),
            signal => Err(Stopped::Signal(signal as u8)),
        }
    }

    /// Says what is happening.
    pub fn say(&self, what: impl fmt::Display) {
        let seconds = self.began.elapsed().as_secs_f64();
        let line = format!("{seconds:6.2} s  {what}\n");
        // Whoever read it may be gone; the tour goes on, and its exit status tells.
        let _ = if self.is_quiet {
            io::stderr().write_all(line.as_bytes())
        } else {
            io::stdout().write_all(line.as_bytes())
        };
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
