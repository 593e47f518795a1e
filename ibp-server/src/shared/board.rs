//! The bulletin board: a row a worker, written by that worker, read by everybody.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use ibp_core::Load;
use ibp_core::wire::TransactionId;
use ibp_shm::SharedArray;
use rustix::process::{Pid, RawPid};
use zerocopy::FromBytes;

use crate::sys::descriptor::Descriptor;
use crate::sys::ready_set::EventSlot;

use super::name::{Name, SharedName};

/// What a worker is, as the load counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Activity {
    /// No process.
    Absent = 0,
    /// The process was made and does not serve yet.
    Starting = 1,
    /// It waits for something to do.
    Idle = 2,
    /// It serves a connection.
    Busy = 3,
}

/// How far a worker is with the connection that it serves: what can be said of a request when the worker dies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Step {
    /// It serves none.
    None = 0,
    /// It takes one from a listener.
    Accepting = 1,
    /// It has the connection and read nothing from it.
    Untouched = 2,
    /// It may have taken bytes from the socket that nobody else has.
    Receiving = 3,
    /// The app runs.
    Running = 4,
    /// The outcome is recorded; some, all or none of the answer was sent.
    Answering = 5,
    /// All answers were sent; bytes of a further request may have been taken from the socket.
    Answered = 6,
}

#[derive(FromBytes)]
#[repr(C, align(64))]
pub(crate) struct Row {
    pub(crate) event: EventSlot,
    keeper: AtomicI32,
    /// The connection that it serves: its descriptor's number + 1, 0 for none.
    descriptor: AtomicI32,
    step: AtomicU32,
    /// Whether the client has read the server's hello.
    greeted: AtomicU32,
    /// The number of the last request that was taken on this connection.
    number: AtomicU32,
    starts: AtomicU32,
    transaction: [AtomicU64; 2],
    outcome: AtomicU64,
    since_ms: AtomicU64,
    timeout_ms: AtomicU64,
    started_ms: AtomicU64,
    app: SharedName,
    executed: AtomicU64,
    rejected: AtomicU64,
    aborted: AtomicU64,
    connections: AtomicU64,
    /// How often it was woken.
    visits: AtomicU64,
}

/// The board of one platform.
pub(crate) struct Board {
    /// One word a worker, close together, since each response counts them: process id, activity.
    activities: SharedArray<AtomicU64>,
    rows: SharedArray<Row>,
}

/// What a worker was doing, as whoever finds it dead reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastAct {
    pub(crate) step: Step,
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) greeted: bool,
    pub(crate) number: u32,
    pub(crate) transaction: TransactionId,
    pub(crate) outcome: u64,
}

/// One worker, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerStatus {
    /// Its place in the pool, from 0.
    pub slot: usize,
    /// Its process id; 0 when there is none.
    pub pid: i32,
    /// Process id of the keeper that watches it.
    pub keeper: i32,
    /// What it does.
    pub activity: Activity,
    /// Since when the app runs, `CLOCK_BOOTTIME` in milliseconds; 0 when none does.
    pub since_ms: u64,
    /// The app that runs; empty when none does.
    pub app: String,
    /// How often a process was started in this slot.
    pub starts: u32,
    /// Requests that an app ran to its end, since the platform's start.
    pub executed: u64,
    /// Requests that no app ran for.
    pub rejected: u64,
    /// Requests whose app began and did not end.
    pub aborted: u64,
    /// Connections taken.
    pub connections: u64,
}

impl Board {
    pub(crate) fn new(slots: usize) -> io::Result<Self> {
        Ok(Self {
            activities: SharedArray::allocated("ibp-activities", slots)?,
            rows: SharedArray::allocated("ibp-board", slots)?,
        })
    }

    pub(crate) fn slots(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn row(&self, slot: usize) -> &Row {
        &self.rows[slot]
    }

    /// Called by the worker, and by whoever finds it dead.
    pub(crate) fn set_activity(&self, slot: usize, pid: RawPid, activity: Activity) {
        let word = u64::from(pid.unsigned_abs()) << 32 | u64::from(activity as u8);
        self.activities[slot].store(word, Ordering::Release);
    }

    pub(crate) fn activity(&self, slot: usize) -> (Option<Pid>, Activity) {
        let word = self.activities[slot].load(Ordering::Acquire);
        let activity = match word as u8 {
            1 => Activity::Starting,
            2 => Activity::Idle,
            3 => Activity::Busy,
            _ => Activity::Absent,
        };
        (Pid::from_raw((word >> 32) as RawPid), activity)
    }

    /// Busy workers of all workers.
    pub(crate) fn load(&self) -> Load {
        let mut load = Load::default();
        for word in self.activities.iter() {
            match word.load(Ordering::Relaxed) as u8 {
                2 => load.workers = load.workers.saturating_add(1),
                3 => {
                    load.workers = load.workers.saturating_add(1);
                    load.busy = load.busy.saturating_add(1);
                }
                _ => {}
            }
        }
        load
    }

    /// How many workers serve.
    pub(crate) fn serving(&self) -> usize {
        usize::from(self.load().workers)
    }

    pub(crate) fn status(&self, slot: usize) -> WorkerStatus {
        let (pid, activity) = self.activity(slot);
        let row = self.row(slot);
        let running = row.step.load(Ordering::Acquire) == Step::Running as u32;
        WorkerStatus {
            slot,
            pid: pid.map_or(0, Pid::as_raw_pid),
            keeper: row.keeper.load(Ordering::Relaxed),
            activity,
            since_ms: if running { row.since_ms.load(Ordering::Relaxed) } else { 0 },
            app: if running { row.app() } else { String::new() },
            starts: row.starts.load(Ordering::Relaxed),
            executed: row.executed.load(Ordering::Relaxed),
            rejected: row.rejected.load(Ordering::Relaxed),
            aborted: row.aborted.load(Ordering::Relaxed),
            connections: row.connections.load(Ordering::Relaxed),
        }
    }
}

impl Row {
    // Program order is what counts in this block: a reader looks only after the writer's death, by when all stores
    // that the writer made are visible. `Release` keeps the compiler and the processor to that order.

    /// The worker has a connection and will look at it.
    pub(crate) fn take_up(&self, descriptor: Descriptor, greeted: bool, number: u32) {
        self.greeted.store(u32::from(greeted), Ordering::Relaxed);
        self.number.store(number, Ordering::Relaxed);
        self.step.store(Step::Untouched as u32, Ordering::Relaxed);
        self.descriptor.store(descriptor.number() + 1, Ordering::Release);
    }

    pub(crate) fn set_step(&self, step: Step) {
        self.step.store(step as u32, Ordering::Release);
    }

    /// The client got the server's hello, and all answers so far.
    pub(crate) fn set_answered(&self) {
        self.greeted.store(1, Ordering::Release);
        self.step.store(Step::Answered as u32, Ordering::Release);
    }

    /// An app is about to run.
    pub(crate) fn begin(&self, call: &Call<'_>) {
        let [high, low] = words_of(call.transaction);
        self.transaction[0].store(high, Ordering::Relaxed);
        self.transaction[1].store(low, Ordering::Relaxed);
        self.outcome.store(call.outcome, Ordering::Relaxed);
        self.since_ms.store(call.now_ms, Ordering::Relaxed);
        self.timeout_ms.store(call.timeout_ms, Ordering::Relaxed);
        self.app.store(&Name::new(call.app));
        self.number.store(call.number, Ordering::Release);
        self.step.store(Step::Running as u32, Ordering::Release);
    }

    /// A request was taken without running an app.
    pub(crate) fn set_number(&self, number: u32) {
        self.number.store(number, Ordering::Release);
    }

    /// The worker is done with the connection: whoever else has it, has all of it.
    pub(crate) fn put_down(&self) {
        self.descriptor.store(0, Ordering::Release);
        self.step.store(Step::None as u32, Ordering::Release);
    }

    pub(crate) fn last_act(&self) -> LastAct {
        LastAct {
            step: match self.step.load(Ordering::Acquire) {
                1 => Step::Accepting,
                2 => Step::Untouched,
                3 => Step::Receiving,
                4 => Step::Running,
                5 => Step::Answering,
                6 => Step::Answered,
                _ => Step::None,
            },
            descriptor: Descriptor::from_number(self.descriptor.load(Ordering::Acquire) - 1),
            greeted: self.greeted.load(Ordering::Relaxed) != 0,
            number: self.number.load(Ordering::Relaxed),
            transaction: id_of([
                self.transaction[0].load(Ordering::Relaxed),
                self.transaction[1].load(Ordering::Relaxed),
            ]),
            outcome: self.outcome.load(Ordering::Relaxed),
        }
    }

    /// How long the app may still run, by its own limit: since when, and for how long; `None` when none runs.
    pub(crate) fn running(&self) -> Option<(u64, u64)> {
        (self.step.load(Ordering::Acquire) == Step::Running as u32)
            .then(|| (self.since_ms.load(Ordering::Relaxed), self.timeout_ms.load(Ordering::Relaxed)))
    }

    fn app(&self) -> String {
        self.app.load().read(str::to_owned)
    }

    pub(crate) fn set_keeper(&self, pid: RawPid) {
        self.keeper.store(pid, Ordering::Release);
    }

    pub(crate) fn keeper(&self) -> Option<Pid> {
        Pid::from_raw(self.keeper.load(Ordering::Acquire).max(0))
    }

    pub(crate) fn count_start(&self) {
        self.starts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_executed(&self) {
        add_one(&self.executed);
    }

    pub(crate) fn count_rejected(&self) {
        add_one(&self.rejected);
    }

    pub(crate) fn count_aborted(&self) {
        self.aborted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_visit(&self) {
        add_one(&self.visits);
    }

    pub(crate) fn visits(&self) -> u64 {
        self.visits.load(Ordering::Relaxed)
    }

    pub(crate) fn count_connection(&self) {
        add_one(&self.connections);
    }
}

/// What a worker says of the app that it is about to run.
pub(crate) struct Call<'a> {
    pub(crate) app: &'a str,
    pub(crate) number: u32,
    pub(crate) transaction: TransactionId,
    pub(crate) outcome: u64,
    pub(crate) now_ms: u64,
    pub(crate) timeout_ms: u64,
}

/// Counts where the worker is the only writer: no locked instruction is needed.
fn add_one(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// A transaction id as the two words that shared memory holds.
pub(super) fn words_of(id: TransactionId) -> [u64; 2] {
    let value = u128::from_be_bytes(id.0);
    [(value >> 64) as u64, value as u64]
}

pub(super) fn id_of([high, low]: [u64; 2]) -> TransactionId {
    TransactionId((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}
