//! Staying with a connection for a moment after an answer.

/// Whether it pays to let others run for a moment after an answer and look for the next request, before the
/// connection is given back: where client and worker share a core, the client has asked again by then, and four
/// system calls become three without anybody having slept. Where it has not, the look was in vain, and is tried more
/// and more rarely.
pub(super) struct Linger {
    /// Answers to let pass before the next try.
    pass: u32,
    /// How many to let pass after the next try in vain.
    penalty: u32,
    /// Tries in a row that found a request.
    found: u32,
}

impl Linger {
    const LONGEST_PENALTY: u32 = 4_096;
    /// So many in a row are no chance.
    const PROOF: u32 = 64;

    pub(super) fn new() -> Self {
        Self { pass: 0, penalty: 1, found: 0 }
    }

    pub(super) fn is_worth_it(&mut self) -> bool {
        if self.pass == 0 {
            return true;
        }
        self.pass -= 1;
        false
    }

    pub(super) fn learn(&mut self, found: bool) {
        if found {
            self.found += 1;
            if self.found >= Self::PROOF {
                self.penalty = 1;
            }
        } else {
            self.found = 0;
            self.pass = self.penalty;
            self.penalty = (self.penalty * 4).min(Self::LONGEST_PENALTY);
        }
    }
}
