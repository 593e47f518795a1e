//! Where programs log to, and how much.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::json::{Reader, Shape};

/// The log files of a program. Not every program has every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// What operators have to know of: starts, stops, failures.
    pub event: LogOutput,
    /// Starting up.
    pub main: LogChannel,
    /// The process that watches the workers.
    pub monitor: LogChannel,
    /// The workers; `%d` in the path stands for the worker's number.
    pub worker: LogChannel,
    /// The apps; `%s` in the path stands for the app's name.
    pub app: LogChannel,
}

/// A log file and what goes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChannel {
    /// The file.
    pub output: LogOutput,
    /// The least important level that is written.
    pub level: LogLevel,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Nowhere: an empty text in the file.
    Nowhere,
    /// Into a file: `file::PATH` in the file.
    File(LogPath),
}

/// The path of a log file, in which `%d` may stand for the number of a worker or `%s` for the name of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPath(String);

/// How important a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For developers.
    Debug,
    /// What happened.
    Info,
    /// Something is doubtful.
    Warn,
    /// Something failed.
    Error,
    /// The program cannot go on.
    Fatal,
}

/// What the variable part of a log's path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    None,
    Worker,
    App,
}

impl LogOutput {
    /// The file: relative paths begin at the installation's directory; `%d` becomes `worker`, `%s` becomes `app`.
    /// `None` if this log goes nowhere.
    pub fn path(&self, home: &Path, worker: u32, app: &str) -> Option<PathBuf> {
        match self {
            LogOutput::Nowhere => None,
            // Names of apps have no "/", so that no app logs outside the directory.
            LogOutput::File(LogPath(path)) => {
                Some(home.join(path.replace("%d", &worker.to_string()).replace("%s", app)))
            }
        }
    }

    fn file(path: String) -> LogOutput {
        LogOutput::File(LogPath(path))
    }
}

impl LogLevel {
    const WORDS: [&str; 5] = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    const ALL: [LogLevel; 5] =
        [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Fatal];
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(LogLevel::WORDS[*self as usize])
    }
}

impl LogSettings {
    /// The published files and levels for a program called `program`.
    pub(super) fn of(program: &str) -> LogSettings {
        let channel = |name: &str, level| LogChannel {
            output: LogOutput::file(format!("log/{program}_{name}.log")),
            level,
        };
        let worker = if program == "ibas" { "worker_%d" } else { "worker" };
        LogSettings {
            event: LogOutput::file("log/event.log".to_owned()),
            main: channel("main", LogLevel::Info),
            monitor: channel("monitor", LogLevel::Info),
            worker: channel(worker, LogLevel::Info),
            app: LogChannel { output: LogOutput::file("log/app_%s.log".to_owned()), level: LogLevel::Info },
        }
    }

    const SHAPE: Shape = Shape::new(
        "log section",
        &[
            "iblog_server",
            "event_output",
            "main_output",
            "main_loglevel",
            "monitor_output",
            "monitor_loglevel",
            "worker_output",
            "worker_loglevel",
            "app_output",
            "app_loglevel",
        ],
    );

    /// Reads the section `log`.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) {
        reader.object(&Self::SHAPE, |reader, field| match field {
            "iblog_server" => iblog_server(reader),
            "event_output" => output(reader, &mut self.event, Variable::None),
            "main_output" => output(reader, &mut self.main.output, Variable::None),
            "main_loglevel" => level(reader, &mut self.main.level),
            "monitor_output" => output(reader, &mut self.monitor.output, Variable::None),
            "monitor_loglevel" => level(reader, &mut self.monitor.level),
            "worker_output" => output(reader, &mut self.worker.output, Variable::Worker),
            "worker_loglevel" => level(reader, &mut self.worker.level),
            "app_output" => output(reader, &mut self.app.output, Variable::App),
            _ => level(reader, &mut self.app.level),
        });
    }
}

/// Given up in favour of log collection; it still stands in files.
fn iblog_server(reader: &mut Reader<'_>) {
    if reader.text().is_some_and(|server| !server.is_empty()) {
        let message = "iblog_server is no longer used; logs are collected from their files";
        reader.warning(reader.value_span(), message);
    }
}

fn output(reader: &mut Reader<'_>, output: &mut LogOutput, variable: Variable) {
    let Some(text) = reader.text() else { return };
    if text.is_empty() {
        *output = LogOutput::Nowhere;
        return;
    }
    let span = reader.value_span();
    match text.strip_prefix("file::") {
        None | Some("") => {
            reader.error_with_hint(
                span,
                "a log output is expected: file::PATH, or nothing",
                "write \"file::log/NAME.log\"",
            );
        }
        Some(path) => match wrong_variable(path, variable) {
            None => *output = LogOutput::file(path.to_owned()),
            Some(wrong) => {
                let allowed = match variable {
                    Variable::None => "the path of this log has no variable part",
                    Variable::Worker => "%d stands for the number of the worker",
                    Variable::App => "%s stands for the name of the app",
                };
                reader.error_with_hint(span, format!("{wrong:?} has no meaning in this path"), allowed);
            }
        },
    }
}

/// The first `%` sequence of a path that does not belong there.
fn wrong_variable(path: &str, variable: Variable) -> Option<&str> {
    path.match_indices('%').find_map(|(at, _)| {
        let length = path[at + 1..].chars().next().map_or(0, char::len_utf8);
        let sequence = &path[at..at + 1 + length];
        let allowed = matches!((sequence, variable), ("%d", Variable::Worker) | ("%s", Variable::App));
        (!allowed).then_some(sequence)
    })
}

fn level(reader: &mut Reader<'_>, level: &mut LogLevel) {
    if let Some(index) = reader.word(&LogLevel::WORDS) {
        *level = LogLevel::ALL[index];
    }
}
