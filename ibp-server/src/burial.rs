//! What is done with what a dead worker leaves: in its place in the pool, by the keeper that shares its descriptor
//! table. The board says what the worker was doing; from that follows what its client may be told.

use std::os::fd::RawFd;

use ibp_core::wire::ib2::{Goodbye, GoodbyeReason, ResponseHead, ServerHello, put_preamble};
use ibp_core::wire::{AbortReason, Execution};
use ibp_shm::boottime_ms;

use crate::connections::Connections;
use crate::event::Event;
use crate::pool::Pool;
use crate::shared::board::{LastAct, Step};
use crate::shared::control::Stage;
use crate::shared::table::{Saved, State};
use crate::sys::descriptor::{self, Descriptor};

/// Cleans up after the worker of `slot`. `own` are the descriptors that are the platform's own; `timed_out`: it was
/// ended because its app ran too long.
pub(crate) fn bury(pool: &Pool, slot: usize, own: &[RawFd], timed_out: bool) {
    let connections = Connections::new(pool, slot);
    let act = pool.board.row(slot).last_act();
    let event = Event::from_data(pool.board.row(slot).event.data());

    close_unrecorded(pool, slot);
    // The event that it was woken by may have died with it.
    match event {
        Some(Event::Listener(index)) => pool.arm_listener(index),
        Some(Event::Connection { id, .. }) => rearm_if_parked(pool, &connections, slot, id),
        Some(Event::Wake) | None => {}
    }

    let served = act.descriptor.and_then(|descriptor| pool.table.id_of_number(descriptor.number()));
    let aborted = match act.step {
        Step::Running => end_running(pool, slot, &act, timed_out),
        _ => None,
    };
    if let Some(descriptor) = act.descriptor {
        match served {
            Some(id) => settle_shared(pool, &connections, slot, id, &act, descriptor, aborted),
            None => settle_fresh(pool, &connections, &act, descriptor, aborted),
        }
    }
    release_rows(pool, &connections, slot);
    close_leftovers(pool, &connections, slot, own, &act);
    pool.board.row(slot).put_down();
    pool.board.row(slot).event.clear();
}

/// What a new keeper does for a slot whose keeper and worker are both dead: connections that they had claimed, and
/// nothing had been read from, are given back by way of others' descriptor tables.
pub(crate) fn take_over(pool: &Pool, slot: usize) {
    let connections = Connections::new(pool, slot);
    release_rows(pool, &connections, slot);
    if let Some(Event::Connection { id, .. }) = Event::from_data(pool.board.row(slot).event.data()) {
        rearm_if_parked(pool, &connections, slot, id);
    }
    pool.board.row(slot).event.clear();
}

/// Closes numbers of connections that the worker had opened and did not come to record.
fn close_unrecorded(pool: &Pool, slot: usize) {
    for number in descriptor::open_numbers().unwrap_or_default() {
        if pool.table.id_of_number(number).is_some_and(|id| pool.table.held(slot, id) == 0)
            && let Some(unrecorded) = Descriptor::from_number(number)
        {
            unrecorded.close();
        }
    }
}

/// The app began and did not end: that is its outcome.
fn end_running(pool: &Pool, slot: usize, act: &LastAct, timed_out: bool) -> Option<Execution> {
    let reason = if timed_out {
        AbortReason::AppTimeout
    } else if pool.control.stage() >= Stage::Stopping {
        AbortReason::Shutdown
    } else {
        AbortReason::WorkerDied
    };
    let execution = Execution::Aborted(reason);
    pool.outcomes.end(act.outcome, execution);
    pool.board.row(slot).count_aborted();
    tracing::error!(
        slot, transaction = %act.transaction, number = act.number, %execution,
        "a worker died while its app ran"
    );
    Some(execution)
}

/// A connection that no other process knows.
fn settle_fresh(
    pool: &Pool,
    connections: &Connections<'_>,
    act: &LastAct,
    descriptor: Descriptor,
    aborted: Option<Execution>,
) {
    if act.step == Step::Untouched {
        // All that the peer sent is still in the socket: another worker serves it.
        if let Ok(Some(id)) = connections.adopt(descriptor, |_| {}) {
            pool.table.save(id, &Saved { since_ms: boottime_ms(), ..Saved::default() });
            connections.park_first(id, State::Idle);
            return;
        }
    }
    say_last_words(pool, act, descriptor, aborted);
    // Unread bytes would reset the connection, and the last words with it.
    let _ = descriptor.receive(&mut [0; 4096]);
    descriptor.end_both();
    descriptor.close();
}

/// A connection that has a row.
fn settle_shared(
    pool: &Pool,
    connections: &Connections<'_>,
    slot: usize,
    id: u32,
    act: &LastAct,
    descriptor: Descriptor,
    aborted: Option<Execution>,
) {
    let word = pool.table.word(id);
    if pool.table.held(slot, id) != word.generation {
        return;
    }
    if word.state.is_parked() {
        // It was given back; only the arming may have been missed.
        connections.arm_again(id);
        return;
    }
    if usize::from(word.owner) != slot || word.state != State::Busy {
        return;
    }
    if act.step == Step::Untouched || word.claimed == State::Parting {
        connections.give_back(id, word.claimed);
        return;
    }
    say_last_words(pool, act, descriptor, aborted);
    if act.step == Step::Answering {
        connections.close(id, descriptor);
    } else {
        connections.part_after(id, descriptor, boottime_ms());
    }
}

/// Tells the client what is true: aborted, if its app ran; else that nothing after the last request was executed.
/// While an answer was being sent nobody knows how much of it went out: the connection ends without a word, and the
/// outcome is remembered.
fn say_last_words(pool: &Pool, act: &LastAct, descriptor: Descriptor, aborted: Option<Execution>) {
    if act.step == Step::Answering {
        return;
    }
    let mut words = Vec::with_capacity(256);
    if !act.greeted {
        put_preamble(&mut words);
        if aborted.is_some() {
            ServerHello::plain(pool.settings.limits, pool.load()).put(&mut words);
        }
    }
    if let Some(execution) = aborted {
        let text = execution.to_string();
        let head = ResponseHead {
            number: act.number,
            transaction: act.transaction,
            execution,
            load: pool.load(),
            files: 0,
        };
        words.extend_from_slice(&head.to_bytes(text.len()));
        words.extend_from_slice(text.as_bytes());
    }
    Goodbye { last_taken: act.number, reason: GoodbyeReason::Recycled }.put(&mut words);
    let _ = descriptor.send(&words);
    descriptor.end_sending();
}

fn rearm_if_parked(pool: &Pool, connections: &Connections<'_>, slot: usize, id: u32) {
    let word = pool.table.word(id);
    if !word.state.is_parked() {
        return;
    }
    if pool.table.held(slot, id) == word.generation {
        connections.arm_again(id);
        return;
    }
    // This table never had it: it is claimed as a worker would, and given back.
    let mut claiming = Connections::new(pool, slot);
    match claiming.claim(id, |now| now == word) {
        Ok(Some((_, state))) => claiming.give_back(id, state),
        Ok(None) => {}
        Err(error) => tracing::error!(slot, connection = id, %error, "a connection cannot be given back"),
    }
}

/// Rows that the dead worker had reserved or claimed and did not come to serve, or did not come to free.
fn release_rows(pool: &Pool, connections: &Connections<'_>, slot: usize) {
    for id in 0..pool.table.len() {
        let word = pool.table.word(id);
        if usize::from(word.owner) != slot {
            continue;
        }
        match word.state {
            State::Reserved => match Descriptor::from_number(pool.table.number(id)) {
                Some(number) if pool.table.held(slot, id) == word.generation => connections.close(id, number),
                _ => {
                    connections.release_spill(id);
                    pool.table.free(id);
                }
            },
            State::Busy if pool.table.held(slot, id) == word.generation => {
                connections.give_back(id, word.claimed);
            }
            State::Busy => {
                pool.table.park(id, word.claimed);
                rearm_if_parked(pool, connections, slot, id);
            }
            _ => {}
        }
    }
}

/// Closes what else is open in the table: what the app had opened, and what the worker was about to record.
fn close_leftovers(pool: &Pool, connections: &Connections<'_>, slot: usize, own: &[RawFd], act: &LastAct) {
    let numbers = match descriptor::open_numbers() {
        Ok(numbers) => numbers,
        Err(error) => {
            tracing::error!(slot, %error, "cannot list what the dead worker had open");
            return;
        }
    };
    for number in numbers {
        let Some(leftover) = Descriptor::from_number(number) else { continue };
        if pool.table.id_of_number(number).is_some() || own.contains(&number) {
            continue;
        }
        let accepted =
            act.step == Step::Accepting && pool.listeners.iter().any(|listener| listener.accepted(leftover));
        if accepted {
            // Accepted, and nothing read from it.
            let untouched = LastAct { step: Step::Untouched, greeted: false, number: 0, ..*act };
            settle_fresh(pool, connections, &untouched, leftover, None);
        } else {
            leftover.close();
        }
    }
}
