//! A worker process: waits with all others on the ready set, and serves what it is woken for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ibp_core::wire::ib2::{GoodbyeReason, ServerPhase};
use ibp_shm::boottime_ms;
use rustix::io::Errno;
use rustix::process::RawPid;

use crate::connections::Connections;
use crate::conversation::{Conversation, Live, Verdict};
use crate::event::Event;
use crate::pool::Pool;
use crate::shared::board::{Activity, Row, Step};
use crate::shared::control::{Count, Stage};
use crate::shared::table::{Saved, State};
use crate::sys::descriptor::Descriptor;
use crate::sys::signal;

/// Accepted in a row before parked connections get their turn.
const ACCEPTS: usize = 8;

/// How often a worker that is not woken looks after the rest: the configuration, copies of closed connections, peers
/// that are too slow.
const TICK: Duration = Duration::from_secs(1);

/// The same while the platform ends.
const DRAINING_TICK: Duration = Duration::from_millis(20);

/// How long a peer that was told GOODBYE may take to close.
const PARTING_MS: u64 = 1_000;

/// A peer that sends or takes a long body at this rate or faster is not too slow: 64 bytes in a millisecond.
const SLOWEST_BYTES_PER_MS: u64 = 64;

/// Why a worker ended; its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was asked to, or the platform ends.
    Asked = 0,
    /// The app panicked.
    Panicked = 101,
    /// It cannot open descriptors any more: the app leaks them.
    Descriptors = 102,
    /// A service could not be started.
    Start = 104,
    /// The kernel refused something that it cannot do without.
    Kernel = 103,
}

pub(crate) struct Worker<'p> {
    pool: &'p Pool,
    slot: usize,
    pid: RawPid,
    row: &'p Row,
    connections: Connections<'p>,
    conversation: Conversation<'p>,
    next_tick_ms: u64,
    exit: Option<Exit>,
}

impl<'p> Worker<'p> {
    pub(crate) fn new(pool: &'p Pool, slot: usize) -> Self {
        Self {
            pool,
            slot,
            pid: rustix::process::getpid().as_raw_pid(),
            row: pool.board.row(slot),
            connections: Connections::new(pool, slot),
            conversation: Conversation::new(pool, slot),
            next_tick_ms: 0,
            exit: None,
        }
    }

    /// Serves until there is a reason to end.
    pub(crate) fn run(&mut self) -> Exit {
        for (app, service) in &self.pool.services {
            if catch_unwind(AssertUnwindSafe(|| service.start())).is_err() {
                tracing::error!(slot = self.slot, app, "the service panicked when it was started");
                return Exit::Start;
            }
        }
        self.set_activity(Activity::Idle);
        self.pool.started.ring();
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            let stage = self.pool.control.stage();
            // While the platform ends, the others who wait are told first.
            if signal::is_ending() && stage < Stage::Draining {
                return Exit::Asked;
            }
            if stage == Stage::Stopping || stage == Stage::Draining && self.drain() {
                return Exit::Asked;
            }
            let tick = if stage == Stage::Draining { DRAINING_TICK } else { TICK };
            // Cleared only now: whoever finds this worker dead reads here which event died with it.
            self.row.event.clear();
            match self.pool.ready.wait(&self.row.event, tick) {
                Ok(true) => self.serve_event(),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(slot = self.slot, %error, "cannot wait for connections");
                    return Exit::Kernel;
                }
            }
            self.tick();
        }
    }

    fn set_activity(&self, activity: Activity) {
        self.pool.board.set_activity(self.slot, self.pid, activity);
    }

    fn serve_event(&mut self) {
        let Some(event) = Event::from_data(self.row.event.data()) else { return };
        self.row.count_visit();
        self.set_activity(Activity::Busy);
        match event {
            Event::Listener(index) => self.accept(index),
            Event::Wake => self.pool.wake.answer(),
            Event::Connection { id, generation } => self.resume(id, generation),
        }
        self.set_activity(Activity::Idle);
    }

    fn accept(&mut self, index: usize) {
        let Some(listener) = self.pool.listeners.get(index) else { return };
        for nth in 0..ACCEPTS {
            self.row.set_step(Step::Accepting);
            let accepted = listener.accept();
            if nth == 0 {
                match accepted {
                    // Another worker may take the next one while this one serves.
                    Ok(_) | Err(Errno::MFILE) => self.pool.arm_listener(index),
                    // The machine has no room: the next tick tries again.
                    Err(_) => {}
                }
            }
            match accepted {
                Ok(Some(socket)) => {
                    let descriptor = Descriptor::from_owned(socket);
                    self.row.take_up(descriptor, false, 0);
                    self.row.count_connection();
                    self.serve(Live { descriptor, id: None, saved: Saved::default() }, State::Idle);
                }
                Ok(None) => break,
                Err(Errno::MFILE) => {
                    tracing::error!(
                        slot = self.slot,
                        "no descriptor is free: an app leaks them; this worker ends"
                    );
                    self.exit = Some(Exit::Descriptors);
                    break;
                }
                Err(error) => {
                    self.pool.control.count(Count::Refused);
                    tracing::error!(slot = self.slot, %error, "cannot accept connections; tried again in a second");
                    break;
                }
            }
            if self.exit.is_some() || self.pool.control.stage() >= Stage::Draining {
                break;
            }
        }
        self.row.put_down();
    }

    fn resume(&mut self, id: u32, generation: u32) {
        let claimed = self.connections.claim(id, |word| Event::same_generation(generation, word.generation));
        match claimed {
            Ok(Some((descriptor, from))) => {
                let saved = self.pool.table.load(id);
                self.row.take_up(
                    descriptor,
                    saved.session.phase() != ServerPhase::Hello,
                    saved.session.last_taken(),
                );
                self.serve(Live { descriptor, id: Some(id), saved }, from);
            }
            Ok(None) => {}
            Err(error) => self.cannot_open(id, &error),
        }
    }

    /// This worker cannot open a connection that others can: it makes room for one that can.
    fn cannot_open(&mut self, id: u32, error: &std::io::Error) {
        tracing::error!(slot = self.slot, connection = id, %error, "cannot open a connection; this worker ends");
        self.exit = Some(Exit::Descriptors);
    }

    fn serve(&mut self, mut live: Live, from: State) {
        let verdict =
            if from == State::Parting { discard(live.descriptor) } else { self.conversation.hold(&mut live) };
        if let Some(exit) = self.conversation.exit() {
            self.exit = Some(exit);
        }
        self.conclude(live, verdict);
        self.row.put_down();
    }

    /// Does with the connection what the conversation ended with.
    fn conclude(&mut self, mut live: Live, verdict: Verdict) {
        let state = match verdict {
            Verdict::Close => return self.close(&live),
            Verdict::Park(state) => Some(state),
            Verdict::Part => None,
        };
        let fresh = live.id.is_none();
        let id = match self.settle(&live) {
            Some(id) => id,
            None => return,
        };
        if let Some(number) = Descriptor::from_number(self.pool.table.number(id)) {
            live.descriptor = number;
        }
        let now_ms = boottime_ms();
        if live.saved.since_ms == 0 {
            live.saved.since_ms = now_ms;
        }
        let kept = self.conversation.keep(id, &mut live.saved);
        self.pool.table.save(id, &live.saved);
        match state {
            Some(state) if kept => {
                if fresh {
                    self.connections.park_first(id, state);
                } else {
                    self.connections.park(id, state);
                }
            }
            _ => {
                if !kept {
                    self.pool.control.count(Count::Refused);
                    tracing::debug!(connection = id, "no room for a request in pieces: connection closed");
                }
                if fresh {
                    live.descriptor.end_sending();
                    self.pool.table.save(id, &Saved { since_ms: now_ms, ..live.saved });
                    self.connections.park_first(id, State::Parting);
                } else {
                    self.connections.part_after(id, live.descriptor, now_ms);
                }
            }
        }
    }

    /// The connection's row in the table; a fresh one gets it now. `None`: there is no room, and it was closed.
    fn settle(&mut self, live: &Live) -> Option<u32> {
        if live.id.is_some() {
            return live.id;
        }
        let greeted = live.saved.session.phase() != ServerPhase::Hello;
        let number = live.saved.session.last_taken();
        let row = self.row;
        let adopted = self.connections.adopt(live.descriptor, |renamed| {
            row.take_up(renamed, greeted, number);
            row.set_step(Step::Answering);
        });
        match adopted {
            Ok(Some(id)) => return Some(id),
            Ok(None) => {
                tracing::debug!("no room for another connection ({} are open)", self.pool.table.len());
            }
            Err(error) => {
                tracing::error!(slot = self.slot, %error, "a descriptor of the platform's range is taken: an app leaks descriptors; this worker ends");
                self.exit = Some(Exit::Descriptors);
            }
        }
        self.pool.control.count(Count::Refused);
        self.conversation.refuse(live);
        live.descriptor.close();
        None
    }

    fn close(&self, live: &Live) {
        match live.id {
            Some(id) => self.connections.close(id, live.descriptor),
            None => live.descriptor.close(),
        }
    }

    /// What has to be done now and then, whether or not there is work.
    fn tick(&mut self) {
        let now_ms = boottime_ms();
        if now_ms < self.next_tick_ms {
            return;
        }
        self.next_tick_ms = now_ms + TICK.as_millis() as u64;
        self.connections.drop_stale_copies();
        if let Some(reader) = &self.pool.configuration
            && let Err(error) = reader.refresh()
        {
            tracing::warn!(%error, "the new configuration cannot be read; the old one stays in force");
        }
        if self.pool.control.may_sweep(now_ms, TICK.as_millis() as u64) {
            for index in 0..self.pool.listeners.len() {
                self.pool.arm_listener(index);
            }
            self.sweep(now_ms);
            // Said once a second, however many there are.
            let refused = self.pool.control.newly_refused();
            if refused > 0 {
                tracing::warn!(refused, "no room for connections or requests: refused");
            }
        }
    }

    /// Ends connections whose peer is too slow or was idle too long.
    fn sweep(&mut self, now_ms: u64) {
        let settings = &self.pool.settings;
        let receive_ms = settings.receive_timeout.as_millis() as u64;
        let idle_ms = settings.idle_timeout.as_millis() as u64;
        for id in 0..self.pool.table.len() {
            let word = self.pool.table.word(id);
            if !word.state.is_parked() {
                continue;
            }
            let saved = self.pool.table.load(id);
            let waited_ms = now_ms.saturating_sub(saved.since_ms);
            let begun = saved.input.have > 0 || saved.session.phase() == ServerPhase::Hello;
            // Who moves many bytes gets the time for them.
            let moved = u64::from(saved.input.have.max(saved.output.sent));
            let receive_ms = receive_ms + moved / SLOWEST_BYTES_PER_MS;
            let over = match word.state {
                State::Parting => waited_ms > PARTING_MS,
                State::Writing => waited_ms > receive_ms,
                State::Idle if begun => waited_ms > receive_ms,
                State::Idle => idle_ms > 0 && waited_ms > idle_ms,
                _ => false,
            };
            if !over {
                continue;
            }
            match self.connections.claim(id, |now| now == word) {
                Ok(Some((descriptor, State::Idle))) if !begun => {
                    self.connections.part(id, descriptor, now_ms, GoodbyeReason::Idle);
                }
                Ok(Some((descriptor, State::Idle))) => {
                    self.pool.control.count(Count::Timeout);
                    self.conversation.say_too_slow(descriptor, &saved);
                    self.connections.part_after(id, descriptor, now_ms);
                }
                Ok(Some((descriptor, from))) => {
                    if from == State::Writing {
                        self.pool.control.count(Count::Timeout);
                    }
                    self.connections.close(id, descriptor);
                }
                Ok(None) => {}
                Err(error) => return self.cannot_open(id, &error),
            }
        }
    }

    /// Says GOODBYE to everybody who waits; true when nobody is left.
    fn drain(&mut self) -> bool {
        let now_ms = boottime_ms();
        let mut left = false;
        for id in 0..self.pool.table.len() {
            let word = self.pool.table.word(id);
            match word.state {
                State::Idle => match self.connections.claim(id, |now| now == word) {
                    Ok(Some((descriptor, _))) => {
                        self.connections.part(id, descriptor, now_ms, GoodbyeReason::Draining);
                        left = true;
                    }
                    Ok(None) => left = true,
                    Err(error) => self.cannot_open(id, &error),
                },
                State::Parting => {
                    let waited_ms = now_ms.saturating_sub(self.pool.table.load(id).since_ms);
                    if waited_ms > PARTING_MS
                        && let Ok(Some((descriptor, _))) = self.connections.claim(id, |now| now == word)
                    {
                        self.connections.close(id, descriptor);
                    } else {
                        left = true;
                    }
                }
                State::Writing | State::Queued => left = true,
                // Another worker has it, and will come here itself.
                State::Busy | State::Reserved | State::Free => {}
            }
        }
        !left
    }
}

/// Reads and forgets what a peer still sends after it was told GOODBYE.
fn discard(descriptor: Descriptor) -> Verdict {
    let mut bytes = [0; 16 << 10];
    // Bounded, so that a peer that sends without end holds no worker.
    for _ in 0..16 {
        match descriptor.receive(&mut bytes) {
            Ok(0) => return Verdict::Close,
            Ok(_) => {}
            Err(Errno::AGAIN) => return Verdict::Park(State::Parting),
            Err(_) => return Verdict::Close,
        }
    }
    Verdict::Close
}
