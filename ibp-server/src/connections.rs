//! How a worker, or the keeper that shares its descriptor table, gets at connections by their row: opening one that
//! another worker took, taking a fresh one into the table, parking, parting, closing.

use std::io;
use std::os::fd::OwnedFd;

use ibp_core::wire::ib2::{Goodbye, GoodbyeReason, put_preamble};
use ibp_core::wire::ib2::{ServerPhase, ServerSession};
use rustix::process::{Pid, PidfdFlags};

use crate::event::Event;
use crate::pool::Pool;
use crate::shared::spill::Direction;
use crate::shared::table::{Saved, Sending, State, Waiting, Word};
use crate::sys::descriptor::{self, Descriptor};
use crate::sys::ready_set::Interest;

/// The view that one descriptor table has of the connections.
pub(crate) struct Connections<'p> {
    pool: &'p Pool,
    slot: usize,
    /// Handles to the processes that others' descriptors are fetched from, opened when first needed.
    processes: Vec<Option<(Pid, OwnedFd)>>,
    /// The kernel does not let this process fetch: keepers pass.
    denied: bool,
}

impl<'p> Connections<'p> {
    pub(crate) fn new(pool: &'p Pool, slot: usize) -> Self {
        Self { pool, slot, processes: (0..pool.board.slots()).map(|_| None).collect(), denied: false }
    }

    fn owner(&self) -> u16 {
        self.slot as u16
    }

    /// Makes a parked connection this slot's, and opens it here. `None`: somebody else was quicker, or no process has
    /// it any more.
    ///
    /// # Errors
    /// It cannot be opened here. It is parked and armed again, for another worker.
    pub(crate) fn claim(
        &mut self,
        id: u32,
        wanted: impl FnOnce(Word) -> bool,
    ) -> io::Result<Option<(Descriptor, State)>> {
        let Some(word) = self.pool.table.claim(id, self.owner(), wanted) else { return Ok(None) };
        match self.open(id, word.generation) {
            Ok(descriptor) => Ok(Some((descriptor, word.claimed))),
            Err(error) if is_gone(&error) => {
                tracing::warn!(connection = id, "a connection ended with the last process that had it");
                self.release_spill(id);
                self.pool.table.free(id);
                Ok(None)
            }
            Err(error) => {
                self.park(id, word.claimed);
                Err(error)
            }
        }
    }

    /// The connection's descriptor in this table.
    fn open(&mut self, id: u32, generation: u32) -> io::Result<Descriptor> {
        let table = &self.pool.table;
        let number = table.number(id);
        let held = table.held(self.slot, id);
        if held != generation {
            self.drop_copy(id);
            let fetched = self.fetch(id, generation)?;
            Descriptor::of(&fetched).duplicate_as(number)?;
            table.set_held(self.slot, id, generation);
        }
        Descriptor::from_number(number).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Closes this table's copy of what the row once held.
    fn drop_copy(&self, id: u32) {
        let table = &self.pool.table;
        if table.held(self.slot, id) != 0 {
            table.set_held(self.slot, id, 0);
            if let Some(stale) = Descriptor::from_number(table.number(id)) {
                stale.close();
            }
        }
    }

    fn fetch(&mut self, id: u32, generation: u32) -> io::Result<OwnedFd> {
        let table = &self.pool.table;
        let first = table.holder(id);
        let others = (0..self.pool.board.slots()).filter(|slot| *slot != first);
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for slot in std::iter::once(first).chain(others) {
            if slot == self.slot || slot >= self.pool.board.slots() || table.held(slot, id) != generation {
                continue;
            }
            // The keeper outlives its worker; the worker is asked when the keeper is gone.
            let keeper = self.pool.board.row(slot).keeper();
            let (worker, _) = self.pool.board.activity(slot);
            for process in [keeper, worker].into_iter().flatten() {
                if self.denied {
                    break;
                }
                match self.fetch_from(slot, process, table.number(id)) {
                    Ok(fetched) => return Ok(fetched),
                    Err(error) => {
                        self.denied = is_denied(&error);
                        failed = error;
                    }
                }
            }
            if self.denied {
                match self.pool.counters[slot].ask(table.number(id)) {
                    Ok(passed) => return Ok(passed),
                    Err(error) => failed = error,
                }
            }
        }
        Err(failed)
    }

    fn fetch_from(&mut self, slot: usize, process: Pid, number: i32) -> io::Result<OwnedFd> {
        let cached = &mut self.processes[slot];
        let handle = match cached {
            Some((pid, handle)) if *pid == process => handle,
            _ => &mut cached.insert((process, rustix::process::pidfd_open(process, PidfdFlags::empty())?)).1,
        };
        let fetched = descriptor::fetch(handle, number);
        if fetched.is_err() {
            *cached = None;
        }
        fetched
    }

    /// Takes a fresh connection into the table: it gets a row and that row's number. `None`: the table is full.
    ///
    /// The row is this slot's until it is parked. The old number is closed.
    pub(crate) fn adopt(
        &self,
        fresh: Descriptor,
        renamed: impl FnOnce(Descriptor),
    ) -> io::Result<Option<u32>> {
        let table = &self.pool.table;
        let Some(id) = table.reserve(self.owner()) else { return Ok(None) };
        self.drop_copy(id);
        let named = match fresh.duplicate_as(table.number(id)) {
            Ok(named) => named,
            Err(error) => {
                table.free(id);
                return Err(error);
            }
        };
        table.set_holder(id, self.slot);
        table.set_held(self.slot, id, table.word(id).generation);
        renamed(named);
        fresh.close();
        Ok(Some(id))
    }

    /// Puts a row that was just adopted into the ready set.
    pub(crate) fn park_first(&self, id: u32, state: State) {
        self.put(id, state, |event, member| self.pool.ready.add(member, event, interest_of(state)));
    }

    /// Parks a row that this slot has, and arms it.
    pub(crate) fn park(&self, id: u32, state: State) {
        self.put(id, state, |event, member| self.pool.ready.arm(member, event, interest_of(state)));
    }

    fn put(&self, id: u32, state: State, arm: impl FnOnce(u64, Descriptor) -> io::Result<()>) {
        let table = &self.pool.table;
        let generation = table.word(id).generation;
        table.park(id, state);
        if let Some(member) = Descriptor::from_number(table.number(id))
            && let Err(error) = arm(Event::Connection { id, generation }.data(), member)
        {
            // ENOENT: it was closed by a sweep since it was parked.
            tracing::debug!(connection = id, %error, "a connection could not be armed");
        }
    }

    /// Parks a row that this slot has and whose place in the ready set is not certain.
    pub(crate) fn give_back(&self, id: u32, state: State) {
        self.pool.table.park(id, state);
        self.arm_again(id);
    }

    /// Arms a parked row whose event was lost.
    pub(crate) fn arm_again(&self, id: u32) {
        let table = &self.pool.table;
        let word = table.word(id);
        if word.state.is_parked()
            && let Some(member) = Descriptor::from_number(table.number(id))
        {
            let event = Event::Connection { id, generation: word.generation }.data();
            let interest = interest_of(word.state);
            if self.pool.ready.arm(member, event, interest).is_err() {
                // It was not in the set yet.
                let _ = self.pool.ready.add(member, event, interest);
            }
        }
    }

    /// Says GOODBYE on a connection that this slot has and waits for the peer to close it. Nothing that the peer
    /// sends from now on is read.
    pub(crate) fn part(&self, id: u32, descriptor: Descriptor, now_ms: u64, reason: GoodbyeReason) {
        let saved = self.pool.table.load(id);
        let mut farewell = Vec::with_capacity(32);
        put_goodbye(&saved.session, reason, &mut farewell);
        // A peer whose buffer is full does not read; it will see the end.
        let _ = descriptor.send(&farewell);
        self.part_after(id, descriptor, now_ms);
    }

    /// Ends the sending side after what was sent, and waits for the peer to close.
    pub(crate) fn part_after(&self, id: u32, descriptor: Descriptor, now_ms: u64) {
        descriptor.end_sending();
        self.release_spill(id);
        let saved = self.pool.table.load(id);
        let parting =
            Saved { since_ms: now_ms, input: Waiting::default(), output: Sending::default(), ..saved };
        self.pool.table.save(id, &parting);
        self.park(id, State::Parting);
    }

    /// Closes a connection that this slot has, for all processes.
    pub(crate) fn close(&self, id: u32, descriptor: Descriptor) {
        // The set first: it would keep the connection for as long as any process has a copy.
        let _ = self.pool.ready.remove(descriptor);
        descriptor.end_both();
        self.release_spill(id);
        self.drop_copy(id);
        self.pool.table.free(id);
    }

    /// Gives the memory back that a connection's pieces took.
    pub(crate) fn release_spill(&self, id: u32) {
        let saved = self.pool.table.load(id);
        for (direction, length) in
            [(Direction::Input, saved.input.have), (Direction::Output, saved.output.total)]
        {
            if length > 0 {
                self.pool.spill.discard(id, direction, u64::from(length));
                self.pool.control.release_spill(u64::from(length));
            }
        }
    }

    /// Closes this table's copies of connections that others have closed.
    pub(crate) fn drop_stale_copies(&self) {
        let table = &self.pool.table;
        for id in 0..table.len() {
            let held = table.held(self.slot, id);
            if held != 0 {
                let word = table.word(id);
                if word.generation != held || word.state == State::Free {
                    self.drop_copy(id);
                }
            }
        }
    }
}

/// What a parked row waits for. One that is queued has all it needs: room to write is there at once, so that it comes
/// behind those that are ready already.
fn interest_of(state: State) -> Interest {
    match state {
        State::Writing | State::Queued => Interest::Output,
        _ => Interest::Input,
    }
}

/// Whether the kernel, or a filter of the container, does not allow fetching at all.
fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS))
}

/// Whether fetching a connection failed because nobody has it: no holder is known, or those that were are dead.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EBADF))
}

/// Writes GOODBYE as it must stand on a connection in this state.
pub(crate) fn put_goodbye(session: &ServerSession, reason: GoodbyeReason, out: &mut Vec<u8>) {
    if session.phase() == ServerPhase::Hello {
        put_preamble(out);
    }
    Goodbye { last_taken: session.last_taken(), reason }.put(out);
}
