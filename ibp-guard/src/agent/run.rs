//! The life of an agent: waiting, and publishing what changes.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ibp_shm::{Publisher, ShmError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Agent, AgentError, Command, Commands, Fetched, log_warnings};

/// The heartbeat, and looking for changes that nothing told of.
const PERIOD: Duration = Duration::from_secs(1);
/// Files change together: after an event it is waited until so long nothing more happens,
const QUIET: Duration = Duration::from_millis(20);
/// but not longer than this.
const MOST: Duration = Duration::from_millis(100);

/// How an agent was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The segments stay: applications start and go on with what is published.
    Kept,
    /// The segments are to be removed: [`Agent::close`].
    Remove,
}

/// A change that was heard of and not looked at yet.
#[derive(Clone, Copy)]
struct Heard {
    first: Instant,
    last: Instant,
}

impl Agent {
    /// Follows the changes of the source until a command ends it. `reload_log` is called at [`Command::ReloadLog`].
    ///
    /// # Errors
    /// Only what makes going on impossible; a configuration that is wrong, or cannot be published, is logged and
    /// tried again when it changes.
    pub fn run(
        &mut self,
        commands: &mut Commands,
        mut reload_log: impl FnMut(),
    ) -> Result<Stopped, AgentError> {
        let mut heard: Option<Heard> = None;
        let mut next_period = Instant::now() + PERIOD;
        loop {
            let look_at = heard.map(|heard| (heard.last + QUIET).min(heard.first + MOST));
            self.wait(commands, look_at.unwrap_or(next_period).min(next_period))?;
            while let Some(command) = commands.take() {
                match command {
                    Command::Stop => return Ok(Stopped::Kept),
                    Command::StopAndRemove => return Ok(Stopped::Remove),
                    Command::ReloadLog => reload_log(),
                }
            }
            let now = Instant::now();
            if self.source.take_changes() {
                let first = heard.map_or(now, |heard| heard.first);
                heard = Some(Heard { first, last: now });
            }
            if heard.is_some_and(|heard| now >= (heard.last + QUIET).min(heard.first + MOST)) {
                heard = None;
                self.follow();
            }
            if now >= next_period {
                next_period = now + PERIOD;
                self.publisher.heartbeat();
                if !self.directory.path().join("index").exists() {
                    self.behind.get_or_insert_default();
                }
                if heard.is_none() && (self.behind.is_some() || self.source.has_changed_unnoticed()) {
                    self.follow();
                }
            }
        }
    }

    fn wait(&self, commands: &Commands, until: Instant) -> Result<(), AgentError> {
        let [stop, reload, remove] = commands.descriptors();
        let source = self.source.changes();
        let mut descriptors = [stop, reload, remove, source.as_fd()]
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        let timeout = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(1),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(AgentError::io("wait for changes", error)),
        }
    }

    /// Publishes what the source tells now, if it is something else.
    fn follow(&mut self) {
        let fetched = match self.source.fetch() {
            Ok(fetched) => fetched,
            Err(error) => {
                let refused = error.to_string();
                if self.refused.as_ref() != Some(&refused) {
                    let generation = self.generation();
                    tracing::error!(target: "event", "the configuration is not taken, generation {generation} stays published: {refused}");
                    self.refused = Some(refused);
                }
                return;
            }
        };
        self.refused = None;
        log_warnings(&fetched.warnings);
        if fetched.view == self.view && self.behind.is_none() {
            tracing::debug!("the configuration changed, and nothing that this node sees");
            return;
        }
        match self.publish(&fetched) {
            Ok(generation) => {
                self.behind = None;
                self.view = fetched.view;
                tracing::info!(target: "event", generation, "published a changed configuration");
            }
            Err(error) => self.be_behind(Some(&error)),
        }
    }

    /// Notes that what is published is not what it should be. It is tried again every second, and said when it is new.
    fn be_behind(&mut self, error: Option<&AgentError>) {
        let reason = error.map(ToString::to_string).unwrap_or_default();
        if error.is_some() && self.behind.as_deref() != Some(&reason) {
            tracing::error!(target: "event", "the configuration is not published yet: {reason}");
        }
        self.behind = Some(reason);
    }

    fn publish(&mut self, fetched: &Fetched) -> Result<u64, AgentError> {
        match self.publisher.publish(&fetched.view) {
            Err(ShmError::Displaced { path }) => {
                tracing::warn!(target: "event", "{} was removed by somebody; publishing anew", path.display());
                self.publisher = Publisher::open(&self.directory, self.options)?;
                Ok(self.publisher.publish(&fetched.view)?)
            }
            result => Ok(result?),
        }
    }
}
