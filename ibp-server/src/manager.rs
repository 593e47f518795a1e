//! The manager: makes the keepers, replaces them, and ends the platform in order.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use ibp_shm::boottime_ms;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::error::{ServerError, Tried};
use crate::keeper::Keeper;
use crate::pool::Pool;
use crate::shared::board::Activity;
use crate::shared::control::{Count, Stage};
use crate::shared::table::State;
use crate::sys::signal::Signals;
use crate::sys::spawn::{Fork, exit_now, fork};

/// How often the manager looks when nothing happens, and while the platform ends.
const TICK: Duration = Duration::from_secs(1);
const DRAINING_TICK: Duration = Duration::from_millis(10);

/// A slot's keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    By(Pid),
    /// The keeper died; its worker goes on with what it has until then.
    Orphan {
        worker: Option<Pid>,
        until_ms: u64,
    },
    /// It ended because the platform ends.
    Over,
}

/// What a platform did, told when it has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests that an app ran to its end.
    pub executed: u64,
    /// Requests that no app ran for.
    pub rejected: u64,
    /// Requests whose app began and did not end.
    pub aborted: u64,
    /// Connections taken.
    pub connections: u64,
    /// Connections and requests refused for lack of room.
    pub refused: u64,
    /// Peers that broke the protocol.
    pub protocol_errors: u64,
    /// Peers that were too slow.
    pub timeouts: u64,
    /// Workers that died.
    pub deaths: u64,
}

pub(crate) struct Manager<'p> {
    pool: &'p Pool,
    keepers: Vec<Kept>,
    /// Held by the manager alone: when it dies, the keepers read the end of the other side.
    alive: OwnedFd,
    /// What the keepers read.
    death: OwnedFd,
    signals: Signals,
    /// When the grace time is over.
    until_ms: Option<u64>,
    interrupted: bool,
}

impl<'p> Manager<'p> {
    pub(crate) fn new(pool: &'p Pool) -> Result<Self, ServerError> {
        let wanted = [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
        let signals = Signals::collect(&wanted).tried("collect signals")?;
        let (death, alive) = pipe_with(PipeFlags::CLOEXEC).tried("make a pipe")?;
        // Workers whose keeper died come to the manager.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).tried("become a subreaper")?;
        let keepers = vec![Kept::Over; pool.board.slots()];
        Ok(Self { pool, keepers, alive, death, signals, until_ms: None, interrupted: false })
    }

    /// Runs the platform to its end. `ready` is called once, when all workers serve.
    pub(crate) fn run(&mut self, ready: Option<Box<dyn FnOnce()>>) -> Result<Summary, ServerError> {
        for slot in 0..self.keepers.len() {
            if let Err(source) = self.start_keeper(slot) {
                self.stop_now();
                self.wait_for_all();
                return Err(ServerError::Kernel { what: "fork a keeper", source });
            }
        }
        let mut ready = ready;
        while self.keepers.iter().any(|kept| *kept != Kept::Over) {
            self.wait();
            while let Some(signal) = self.signals.next() {
                match signal {
                    libc::SIGTERM | libc::SIGINT => self.asked_to_end(signal),
                    libc::SIGCHLD => {}
                    // Their meanings (reload, upgrade) come later; until then they do no harm.
                    other => tracing::warn!(signal = other, "this signal has no effect yet"),
                }
            }
            self.reap();
            self.replace_orphans();
            if self.pool.control.stage() == Stage::Starting && self.pool.board.serving() == self.keepers.len()
            {
                self.pool.control.advance(Stage::Ready);
                tracing::info!(workers = self.keepers.len(), "ready");
                if let Some(ready) = ready.take() {
                    ready();
                }
            }
            self.drive_the_end();
        }
        self.pool.shut_listeners();
        Ok(self.summary())
    }

    fn start_keeper(&mut self, slot: usize) -> io::Result<()> {
        let death = rustix::io::fcntl_dupfd_cloexec(&self.death, 0)?;
        match fork()? {
            Fork::Parent(pid) => {
                self.keepers[slot] = Kept::By(pid);
                Ok(())
            }
            Fork::Child => {
                self.become_keeper();
                let status = match Keeper::new(self.pool, slot, death) {
                    Ok(mut keeper) => keeper.run(),
                    Err(error) => {
                        tracing::error!(slot, %error, "cannot keep a worker");
                        1
                    }
                };
                exit_now(status)
            }
        }
    }

    /// Closes, in a keeper, what only the manager may have.
    fn become_keeper(&self) {
        use crate::sys::descriptor::Descriptor;
        // This process never returns to code that uses them.
        Descriptor::of(&self.alive).close();
        Descriptor::of(self.signals.descriptor()).close();
        Descriptor::of(&self.death).close();
    }

    fn wait(&mut self) {
        let tick = if self.until_ms.is_some() { DRAINING_TICK } else { TICK };
        let timeout = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: i64::from(tick.subsec_nanos()) };
        let started = self.pool.started.descriptor();
        let mut fds =
            [PollFd::new(self.signals.descriptor(), PollFlags::IN), PollFd::new(&started, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&timeout));
        if !fds[1].revents().is_empty() {
            self.pool.started.answer();
        }
    }

    fn asked_to_end(&mut self, signal: i32) {
        if self.until_ms.is_some() {
            if signal == libc::SIGINT && self.interrupted {
                tracing::warn!("interrupted again: ending at once");
                self.stop_now();
            }
            self.interrupted |= signal == libc::SIGINT;
            return;
        }
        self.interrupted = signal == libc::SIGINT;
        let grace_ms = self.pool.settings.grace.as_millis() as u64;
        tracing::info!(grace_ms, "asked to end: no more connections are taken, what runs is finished");
        self.until_ms = Some(boottime_ms() + grace_ms);
        self.pool.control.advance(Stage::Draining);
        self.pool.shut_listeners();
    }

    /// While the platform ends: wakes the workers that wait, and when the grace time is over, ends them.
    fn drive_the_end(&mut self) {
        let Some(until_ms) = self.until_ms else { return };
        if boottime_ms() >= until_ms && self.pool.control.stage() < Stage::Stopping {
            tracing::warn!("the grace time is over: what still runs is aborted");
            self.stop_now();
        }
        // Each ring wakes one of those that wait.
        self.pool.wake.ring();
    }

    fn stop_now(&mut self) {
        self.pool.control.advance(Stage::Stopping);
        self.until_ms.get_or_insert_with(boottime_ms);
        self.pool.shut_listeners();
        for slot in 0..self.keepers.len() {
            if let (Some(worker), _) = self.pool.board.activity(slot) {
                // Its keeper tells the client.
                let _ = rustix::process::kill_process(worker, Signal::KILL);
            }
        }
    }

    fn wait_for_all(&mut self) {
        while self.keepers.iter().any(|kept| *kept != Kept::Over) {
            self.wait();
            while self.signals.next().is_some() {}
            self.reap();
            self.replace_orphans();
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let Some(slot) = self.keepers.iter().position(|kept| *kept == Kept::By(pid)) else { continue };
            if self.pool.control.stage() >= Stage::Draining && status.exit_status() == Some(0) {
                self.keepers[slot] = Kept::Over;
                continue;
            }
            tracing::error!(slot, pid = pid.as_raw_pid(), ?status, "a keeper died; its worker is replaced");
            self.pool.control.count(Count::Death);
            let worker = self.pool.board.activity(slot).0;
            let until_ms = boottime_ms() + self.pool.settings.grace.as_millis() as u64;
            self.keepers[slot] = Kept::Orphan { worker, until_ms };
        }
    }

    /// Gives a slot whose keeper died a new one, when its last worker is gone.
    fn replace_orphans(&mut self) {
        for slot in 0..self.keepers.len() {
            let Kept::Orphan { worker, until_ms } = self.keepers[slot] else { continue };
            if let Some(worker) = worker
                && rustix::process::test_kill_process(worker).is_ok()
            {
                if boottime_ms() >= until_ms {
                    let _ = rustix::process::kill_process(worker, Signal::KILL);
                }
                continue;
            }
            self.abandon(slot);
            if self.pool.control.stage() >= Stage::Draining {
                self.keepers[slot] = Kept::Over;
            } else if let Err(error) = self.start_keeper(slot) {
                tracing::error!(slot, %error, "cannot fork a keeper; tried again");
            }
        }
    }

    /// A slot's whole descriptor table is gone: connections that no other table has are closed by the kernel.
    fn abandon(&self, slot: usize) {
        let table = &self.pool.table;
        let act = self.pool.board.row(slot).last_act();
        if act.step == crate::shared::board::Step::Running {
            let reason = ibp_core::wire::AbortReason::WorkerDied;
            self.pool.outcomes.end(act.outcome, ibp_core::wire::Execution::Aborted(reason));
        }
        for id in 0..table.len() {
            let held = table.held(slot, id);
            table.set_held(slot, id, 0);
            let word = table.word(id);
            if word.state == State::Free || held != word.generation {
                continue;
            }
            match (0..self.pool.board.slots()).find(|other| table.held(*other, id) == word.generation) {
                Some(other) => {
                    table.set_holder(id, other);
                    if matches!(word.state, State::Busy | State::Reserved) && usize::from(word.owner) == slot
                    {
                        // What it had read of it is lost with it: the next sweep ends it.
                        table.park(id, State::Parting);
                    }
                }
                None => {
                    self.pool.release_spill(id);
                    table.free(id);
                }
            }
        }
        self.pool.board.set_activity(slot, 0, Activity::Absent);
        // The event that it was woken by stays in its row: the next keeper sees to it.
        self.pool.board.row(slot).put_down();
        for index in 0..self.pool.listeners.len() {
            self.pool.arm_listener(index);
        }
    }

    fn summary(&self) -> Summary {
        let control = &self.pool.control;
        let mut summary = Summary {
            refused: control.counted(Count::Refused),
            protocol_errors: control.counted(Count::ProtocolError),
            timeouts: control.counted(Count::Timeout),
            deaths: control.counted(Count::Death),
            ..Summary::default()
        };
        for slot in 0..self.pool.board.slots() {
            let status = self.pool.board.status(slot);
            summary.executed += status.executed;
            summary.rejected += status.rejected;
            summary.aborted += status.aborted;
            summary.connections += status.connections;
        }
        summary
    }
}
