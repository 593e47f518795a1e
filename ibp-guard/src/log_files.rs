//! Log files as the settings name them, fed by `tracing`.
//!
//! A program has three: `event` for what operators have to know of (messages with the target `"event"`), `main` for what
//! happens while it starts, `worker` for what happens afterwards. Events stand in the log of their time, too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use ibp_core::config::{LogLevel, LogOutput, LogSettings};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// The log files of this process.
#[derive(Clone, Debug)]
pub struct LogFiles {
    state: Arc<RwLock<State>>,
}

#[derive(Debug)]
struct State {
    event: Option<Arc<File>>,
    main: Log,
    worker: Log,
    at_work: bool,
}

#[derive(Debug)]
struct Log {
    file: Option<Arc<File>>,
    level: LevelFilter,
}

impl LogFiles {
    /// Opens the files and makes them the log of this process. Relative paths begin at `home`; with `terminal` messages
    /// are shown on standard error, too.
    ///
    /// # Errors
    /// A file that cannot be opened, or a process that has a log already.
    pub fn install(home: &Path, settings: &LogSettings, terminal: bool) -> io::Result<LogFiles> {
        let logs = LogFiles { state: Arc::new(RwLock::new(State::open(home, settings)?)) };
        let event = logs.clone();
        let flow = logs.clone();
        let shown = logs.clone();
        let subscriber = tracing_subscriber::registry()
            .with(
                fmt::layer()
                    .with_ansi(false)
                    .with_target(false)
                    .with_writer(Writer { logs: event, pick: |state| state.event.clone() })
                    .with_filter(dynamic_filter_fn(|metadata, _| is_event(metadata))),
            )
            .with(
                fmt::layer()
                    .with_ansi(false)
                    .with_writer(Writer { logs: flow.clone(), pick: |state| state.current().file.clone() })
                    .with_filter(dynamic_filter_fn(move |metadata, _| flow.wants(metadata))),
            )
            .with(
                fmt::layer()
                    .with_writer(io::stderr)
                    .with_filter(dynamic_filter_fn(move |metadata, _| terminal && shown.wants(metadata))),
            );
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(logs)
    }

    /// The program has started: from here on its messages go to the log `worker`.
    pub fn begin_work(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).at_work = true;
    }

    /// Opens the files anew, with new settings: after they were moved away, or to change levels.
    ///
    /// # Errors
    /// A file that cannot be opened; the old ones stay in use.
    pub fn reload(&self, home: &Path, settings: &LogSettings) -> io::Result<()> {
        let mut opened = State::open(home, settings)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        opened.at_work = state.at_work;
        *state = opened;
        Ok(())
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        *metadata.level() <= state.current().level
    }
}

impl State {
    fn open(home: &Path, settings: &LogSettings) -> io::Result<State> {
        let log = |channel: &ibp_core::config::LogChannel| {
            Ok::<Log, io::Error>(Log { file: open(home, &channel.output)?, level: filter(channel.level) })
        };
        Ok(State {
            event: open(home, &settings.event)?,
            main: log(&settings.main)?,
            worker: log(&settings.worker)?,
            at_work: false,
        })
    }

    fn current(&self) -> &Log {
        if self.at_work { &self.worker } else { &self.main }
    }
}

fn open(home: &Path, output: &LogOutput) -> io::Result<Option<Arc<File>>> {
    let Some(path) = output.path(home, 0, "") else { return Ok(None) };
    let opened = path.parent().map_or(Ok(()), fs::create_dir_all);
    let opened = opened.and_then(|()| OpenOptions::new().append(true).create(true).open(&path));
    match opened {
        Ok(file) => Ok(Some(Arc::new(file))),
        Err(error) => {
            Err(io::Error::new(error.kind(), format!("cannot open the log {}: {error}", path.display())))
        }
    }
}

/// `tracing` has no level above `ERROR`: what makes a program end is written as an error.
fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
    }
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "event" && *metadata.level() <= Level::INFO
}

/// Writes into the file that is in use at the moment.
struct Writer {
    logs: LogFiles,
    pick: fn(&State) -> Option<Arc<File>>,
}

/// A file, or nothing.
struct Output(Option<Arc<File>>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Output;

    fn make_writer(&'a self) -> Output {
        Output((self.pick)(&self.logs.state.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(file) => (&**file).write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
