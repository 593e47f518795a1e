//! A keeper: a tiny process beside each worker, which never runs app code.
//!
//! It is the worker's parent and shares its descriptor table, but not its memory. So when the worker is killed, its
//! connections are still open here: the keeper answers the one that was being served, gives the others back, and
//! forks the next worker into the same table. When the manager dies, the keepers shut the listeners.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::Duration;

use ibp_shm::boottime_ms;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus};

use crate::burial;
use crate::pool::Pool;
use crate::shared::board::Activity;
use crate::shared::control::{Count, Stage};
use crate::sys::spawn::{Fork, exit_now, fork_sharing_descriptors};
use crate::sys::{descriptor, signal};
use crate::worker::{Exit, Worker};

/// How often a keeper looks whether the app runs too long.
const WATCH: Duration = Duration::from_secs(1);

/// The first pause after a worker that ended before it served, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);

pub(crate) struct Keeper<'p> {
    pool: &'p Pool,
    slot: usize,
    /// Readable (its end) when the manager has died; nobody writes to it.
    manager: OwnedFd,
    /// The descriptors that belong to the platform itself: all others are the dead worker's.
    own: Vec<RawFd>,
    pause: Duration,
    /// When the manager died.
    orphaned_ms: Option<u64>,
    /// How often the worker had been woken, and since when it is busy with that one.
    visit: (u64, u64),
}

impl<'p> Keeper<'p> {
    /// Makes this process the keeper of a slot.
    pub(crate) fn new(pool: &'p Pool, slot: usize, manager: OwnedFd) -> std::io::Result<Self> {
        signal::become_keeper();
        pool.board.row(slot).set_keeper(rustix::process::getpid().as_raw_pid());
        let own = descriptor::open_numbers()?;
        Ok(Self { pool, slot, manager, own, pause: Duration::ZERO, orphaned_ms: None, visit: (0, 0) })
    }

    /// Keeps a worker in the slot until the platform ends.
    pub(crate) fn run(&mut self) -> i32 {
        loop {
            let started = match self.start_worker() {
                Ok(worker) => Some(worker),
                Err(error) => {
                    tracing::error!(slot = self.slot, %error, "cannot start a worker");
                    None
                }
            };
            if let Some((pid, worker)) = started {
                let status = self.watch(pid, &worker);
                // Closed before the burial closes all that is not the platform's own.
                drop(worker);
                self.after(pid, status);
            } else {
                self.lengthen_pause();
            }
            if self.pool.control.stage() >= Stage::Draining {
                return 0;
            }
            if !self.pause.is_zero() {
                tracing::warn!(slot = self.slot, pause = ?self.pause, "the next worker is started after a pause");
                self.rest(self.pause);
                if self.pool.control.stage() >= Stage::Draining {
                    return 0;
                }
            }
        }
    }

    fn start_worker(&self) -> std::io::Result<(Pid, OwnedFd)> {
        let keeper = rustix::process::getpid();
        let row = self.pool.board.row(self.slot);
        row.count_start();
        match fork_sharing_descriptors()? {
            Fork::Child => {
                signal::become_worker();
                let pid = rustix::process::getpid().as_raw_pid();
                self.pool.board.set_activity(self.slot, pid, Activity::Starting);
                // Without its keeper a worker finishes what it has and ends.
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
                if rustix::process::getppid() != Some(keeper) {
                    exit_now(Exit::Asked as i32);
                }
                let exit = Worker::new(self.pool, self.slot).run();
                exit_now(exit as i32)
            }
            Fork::Parent(pid) => {
                let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty());
                match handle {
                    Ok(handle) => Ok((pid, handle)),
                    Err(error) => {
                        let _ = rustix::process::kill_process(pid, Signal::KILL);
                        Err(error.into())
                    }
                }
            }
        }
    }

    /// Waits for the worker's end. Meanwhile: an app that runs too long is ended, a manager that died is noticed.
    fn watch(&mut self, pid: Pid, worker: &OwnedFd) -> Option<WaitIdStatus> {
        loop {
            self.wait_for(Some(worker), WATCH);
            match rustix::process::waitid(
                WaitId::PidFd(worker.as_fd()),
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
            ) {
                Ok(Some(status)) => return Some(status),
                Ok(None) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(slot = self.slot, %error, "cannot wait for the worker");
                    return None;
                }
            }
            if let Some(since_ms) = self.orphaned_ms {
                // It finishes what it has; a worker that waits is woken by the signal.
                let over =
                    boottime_ms().saturating_sub(since_ms) > self.pool.settings.grace.as_millis() as u64;
                let signal = if over { Signal::KILL } else { Signal::TERM };
                let _ = rustix::process::kill_process(pid, signal);
            }
            self.end_what_runs_too_long(pid);
            self.end_what_is_stuck(pid);
        }
    }

    /// Waits until the worker ends, the manager dies, or the time is over.
    fn wait_for(&mut self, worker: Option<&OwnedFd>, time: Duration) {
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        let mut fds = Vec::with_capacity(3);
        let counter = &self.pool.counters[self.slot];
        fds.push(PollFd::new(counter.descriptor(), PollFlags::IN));
        fds.extend(worker.map(|worker| PollFd::new(worker, PollFlags::IN)));
        if self.orphaned_ms.is_none() {
            fds.push(PollFd::new(&self.manager, PollFlags::IN));
        }
        // An error (a signal) is as good as the time being over.
        let _ = poll(&mut fds, Some(&timeout));
        let died =
            self.orphaned_ms.is_none() && fds.last().is_some_and(|manager| !manager.revents().is_empty());
        let asked = !fds[0].revents().is_empty();
        drop(fds);
        if asked {
            counter.serve(self.pool, self.slot);
        }
        if died {
            self.orphaned_ms = Some(boottime_ms());
            if self.pool.control.stage() < Stage::Draining {
                tracing::error!(slot = self.slot, "the manager died: no more connections are taken");
            }
            self.pool.control.advance(Stage::Draining);
            self.pool.shut_listeners();
        }
    }

    fn rest(&mut self, pause: Duration) {
        let until = boottime_ms() + pause.as_millis() as u64;
        loop {
            let left = until.saturating_sub(boottime_ms());
            if left == 0 || self.pool.control.stage() >= Stage::Draining {
                return;
            }
            self.wait_for(None, Duration::from_millis(left).min(WATCH / 10));
        }
    }

    /// TERM after one and a half of the app's time, KILL after twice (seed 004, 2.5.6).
    fn end_what_runs_too_long(&self, pid: Pid) {
        let Some((since_ms, timeout_ms)) = self.pool.board.row(self.slot).running() else { return };
        let runs_ms = boottime_ms().saturating_sub(since_ms);
        if timeout_ms == 0 || runs_ms < timeout_ms + timeout_ms / 2 {
            return;
        }
        let status = self.pool.board.status(self.slot);
        let signal = if runs_ms >= timeout_ms * 2 { Signal::KILL } else { Signal::TERM };
        tracing::warn!(
            slot = self.slot,
            pid = status.pid,
            app = status.app,
            runs_ms,
            timeout_ms,
            ?signal,
            "an app runs too long"
        );
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// A worker that neither runs an app nor gets on with its connection never waits for anything: it is stopped, or
    /// lost. It makes room for one that works.
    fn end_what_is_stuck(&mut self, pid: Pid) {
        let row = self.pool.board.row(self.slot);
        let visits = row.visits();
        // An event that the kernel handed over counts, too: it may have been stopped before it looked at it.
        let woken = row.event.data() != 0 || self.pool.board.activity(self.slot).1 == Activity::Busy;
        let working = woken && row.running().is_none();
        let now_ms = boottime_ms();
        if !working || self.visit.0 != visits {
            self.visit = (visits, now_ms);
        } else if now_ms.saturating_sub(self.visit.1) > self.pool.settings.receive_timeout.as_millis() as u64
        {
            tracing::error!(
                slot = self.slot,
                pid = pid.as_raw_pid(),
                "a worker is stuck outside of any app; ended"
            );
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    fn after(&mut self, pid: Pid, status: Option<WaitIdStatus>) {
        let code = status.as_ref().and_then(WaitIdStatus::exit_status);
        let served = self.pool.board.activity(self.slot).1 != Activity::Starting;
        self.pool.board.set_activity(self.slot, 0, Activity::Absent);
        burial::bury(self.pool, self.slot, &self.own, self.timed_out());
        if code == Some(Exit::Asked as i32) {
            self.pause = Duration::ZERO;
            return;
        }
        self.pool.control.count(Count::Death);
        let signal = status.as_ref().and_then(WaitIdStatus::terminating_signal);
        if served {
            self.pause = Duration::ZERO;
            tracing::warn!(
                slot = self.slot,
                pid = pid.as_raw_pid(),
                ?code,
                ?signal,
                "a worker died; replaced"
            );
        } else {
            tracing::error!(
                slot = self.slot,
                pid = pid.as_raw_pid(),
                ?code,
                ?signal,
                "a worker died before it served"
            );
            self.lengthen_pause();
        }
    }

    fn lengthen_pause(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
    }

    fn timed_out(&self) -> bool {
        let running = self.pool.board.row(self.slot).running();
        running.is_some_and(|(since_ms, timeout_ms)| {
            timeout_ms > 0 && boottime_ms().saturating_sub(since_ms) >= timeout_ms + timeout_ms / 2
        })
    }
}
