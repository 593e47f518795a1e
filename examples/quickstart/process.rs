//! The processes that the tour starts from its own file: what they say, and that none of them is left.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use crate::Result;
use crate::watch::Watch;

/// A process in a process group of its own. Dropping it kills the group, and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// It was waited for: its number may be another's by now.
    is_over: bool,
}

impl Process {
    /// Starts this program in one of its roles.
    pub fn start(name: &str, role: &mut Command) -> Result<Self> {
        // Terminals send INT to the foreground group: the tour itself decides how its processes end.
        role.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = role.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        let input = child.stdin.take();
        let (output, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                    if output.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let group = pid(child.id())?;
        Ok(Self { name: name.to_owned(), child, group, input, lines, is_over: false })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id; if it is a platform, its workers descend from it.
    pub fn pid(&self) -> Pid {
        self.group
    }

    pub fn tell(&mut self, line: &str) -> Result<()> {
        match &mut self.input {
            Some(input) => Ok(writeln!(input, "{line}")?),
            None => Err(format!("{} was told to end already", self.name).into()),
        }
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// The next line that begins with `word`, without it; lines before that are dropped.
    pub fn expect(&self, word: &str, within: Duration, watch: &Watch) -> Result<String> {
        let mut other = |_: &str| {};
        self.expect_among(word, within, watch, &mut other)
    }

    /// The same; `other` gets the lines before it.
    pub fn expect_among(
        &self,
        word: &str,
        within: Duration,
        watch: &Watch,
        other: &mut dyn FnMut(&str),
    ) -> Result<String> {
        let until = Instant::now() + within;
        loop {
            watch.check()?;
            match self.lines.recv_timeout(Duration::from_millis(20)) {
                Ok(line) => match line.strip_prefix(word) {
                    Some(rest) => return Ok(rest.trim().to_owned()),
                    None => other(&line),
                },
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(
                        format!("{} hangs: no {word:?} within {} s", self.name, within.as_secs()).into()
                    );
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("{} ended before it said {word:?}", self.name).into());
                }
            }
        }
    }

    /// The lines that came until now.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.lines.try_iter()
    }

    pub fn send(&self, signal: Signal) -> Result<()> {
        Ok(rustix::process::kill_process(self.group, signal)?)
    }

    /// Waits until it has ended by itself, and wants it to have ended well.
    pub fn wait(&mut self, within: Duration, watch: &Watch) -> Result<()> {
        let until = Instant::now() + within;
        loop {
            watch.check()?;
            match self.child.try_wait()? {
                Some(status) if status.success() => {
                    self.is_over = true;
                    return self.expect_no_remains();
                }
                Some(status) => return Err(format!("{} ended with {status}", self.name).into()),
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                None => return Err(format!("{} hangs: it has not ended within {within:?}", self.name).into()),
            }
        }
    }

    /// Kills it with SIGKILL. It has no children.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.is_over = true;
        Ok(())
    }

    /// A process that has ended has taken its descendants with it.
    fn expect_no_remains(&self) -> Result<()> {
        match rustix::process::waitpgid(self.group, WaitOptions::NOHANG) {
            Err(rustix::io::Errno::CHILD) => Ok(()),
            _ => {
                let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
                Err(format!("{} ended and left processes behind", self.name).into())
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // The group's number is taken as long as one of its processes is not waited for. Those whose parent dies come
        // to this process (see `adopt_orphans`).
        let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
        while rustix::process::waitpgid(self.group, WaitOptions::empty()).is_ok_and(|ended| ended.is_some()) {
        }
    }
}

/// Descendants whose parent dies become this process's children, so that it can wait until they are gone.
pub fn adopt_orphans() -> Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Has the kernel send this process a signal when the process dies that started it.
pub fn die_with(parent: i32, signal: Signal) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    match rustix::process::getppid() {
        Some(now) if now.as_raw_pid() == parent => Ok(()),
        _ => Err("the process that started this one is gone".into()),
    }
}

/// The children of a process.
pub fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_pid();
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

fn pid(number: u32) -> Result<Pid> {
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| "a process without a number".into())
}
