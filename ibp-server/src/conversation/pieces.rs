//! Requests and answers in pieces: what a visit does not finish lies in the spill until the next one.

use ibp_core::wire::ib2::ServerPhase;
use rustix::io::Errno;

use super::input::BUFFER;
use super::{Conversation, Live, Verdict};
use crate::shared::board::Step;
use crate::shared::spill::Direction;
use crate::shared::table::{Saved, Sending, State, Waiting};

/// Input that is longer than this is gathered in the spill, not in memory, while its rest is awaited.
const GATHERED_IN_MEMORY: u32 = 64 << 10;

impl Conversation<'_> {
    /// Sends what the last visit could not; `None` when it is all sent and there may be input.
    pub(super) fn go_on_sending(&mut self, live: &mut Live) -> Option<Verdict> {
        let Sending { total, sent } = live.saved.output;
        let id = live.id.filter(|_| total > 0)?;
        self.row.set_step(Step::Answering);
        let mut left = (total - sent.min(total)) as usize;
        let mut at = u64::from(sent);
        while left > 0 {
            self.output.resize(left.min(BUFFER), 0);
            if let Err(error) = self.pool.spill.read(id, Direction::Output, at, &mut self.output) {
                tracing::error!(connection = id, %error, "an answer that was kept cannot be read");
                return Some(Verdict::Close);
            }
            match live.descriptor.send(&self.output) {
                Ok(length) => {
                    at += length as u64;
                    left -= length;
                    live.saved.output.sent = at as u32;
                }
                Err(Errno::AGAIN) => {
                    self.output.clear();
                    return Some(Verdict::Park(State::Writing));
                }
                Err(_) => return Some(Verdict::Close),
            }
        }
        self.output.clear();
        self.forget(id, Direction::Output, total);
        live.saved.output = Sending::default();
        live.saved.since_ms = 0;
        (live.saved.session.phase() == ServerPhase::Last).then_some(Verdict::Close)
    }

    /// Loads the input that earlier visits kept; a long frame is gathered in the spill until it is whole.
    pub(super) fn go_on_receiving(&mut self, live: &mut Live) -> Option<Verdict> {
        let Waiting { have, need } = live.saved.input;
        let id = live.id.filter(|_| have > 0)?;
        let whole = if need > GATHERED_IN_MEMORY && have < need {
            match self.gather(live, id) {
                Ok(whole) => whole,
                Err(verdict) => return Some(verdict),
            }
        } else {
            have
        };
        let length = whole as usize;
        if self.input.bytes.len() < length {
            self.input.bytes.resize(length, 0);
        }
        if let Err(error) = self.pool.spill.read(id, Direction::Input, 0, &mut self.input.bytes[..length]) {
            tracing::error!(connection = id, %error, "input that was kept cannot be read");
            return Some(Verdict::Close);
        }
        (self.input.end, self.input.spilled) = (length, length);
        None
    }

    /// Receives into the spill until the frame is whole; its length then.
    fn gather(&mut self, live: &mut Live, id: u32) -> Result<u32, Verdict> {
        let Waiting { mut have, need } = live.saved.input;
        while have < need {
            let room = (need - have).min(self.input.bytes.len() as u32) as usize;
            match live.descriptor.receive(&mut self.input.bytes[..room]) {
                Ok(0) => return Err(Verdict::Close),
                Ok(length) => {
                    if !self.put_by(id, Direction::Input, u64::from(have), &self.input.bytes[..length]) {
                        return Err(self.say_full(live));
                    }
                    have += length as u32;
                    live.saved.input.have = have;
                }
                Err(Errno::AGAIN) => {
                    self.input.gathering = true;
                    return Err(Verdict::Park(State::Idle));
                }
                Err(_) => return Err(Verdict::Close),
            }
        }
        Ok(have)
    }

    /// Keeps what a parked connection cannot lose: input that is not whole, answers that were not taken. False when
    /// there is no room for it.
    pub(crate) fn keep(&mut self, id: u32, saved: &mut Saved) -> bool {
        if self.sent < self.output.len() {
            let left = &self.output[self.sent..];
            if !self.put_by(id, Direction::Output, 0, left) {
                return false;
            }
            saved.output = Sending { total: left.len() as u32, sent: 0 };
        }
        let rest = self.input.rest();
        let before = saved.input.have;
        if rest.is_empty() {
            // A long frame that is being gathered was put by already.
            if before > 0 && !self.input.gathering {
                self.forget(id, Direction::Input, before);
                saved.input = Waiting::default();
            }
            return true;
        }
        if self.input.spilled == 0 && before > 0 {
            self.forget(id, Direction::Input, before);
        }
        let known = self.input.spilled.min(rest.len());
        if !self.put_by(id, Direction::Input, known as u64, &rest[known..]) {
            return false;
        }
        let need = u32::try_from(self.input.need).unwrap_or(u32::MAX);
        saved.input = Waiting { have: rest.len() as u32, need };
        true
    }

    fn put_by(&self, id: u32, direction: Direction, at: u64, bytes: &[u8]) -> bool {
        let length = bytes.len() as u64;
        if length == 0 {
            return true;
        }
        if !self.pool.control.reserve_spill(length, self.pool.settings.spill_quota) {
            return false;
        }
        match self.pool.spill.write(id, direction, at, bytes) {
            Ok(()) => true,
            Err(error) => {
                self.pool.control.release_spill(length);
                tracing::error!(connection = id, %error, "cannot keep a request or an answer that is in pieces");
                false
            }
        }
    }

    fn forget(&self, id: u32, direction: Direction, length: u32) {
        self.pool.spill.discard(id, direction, u64::from(length));
        self.pool.control.release_spill(u64::from(length));
    }
}
