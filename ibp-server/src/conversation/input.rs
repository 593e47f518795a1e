//! The buffer that a worker receives into.

/// What the buffer holds without growing.
pub(super) const BUFFER: usize = 64 << 10;

/// A buffer beyond this is given back after a visit.
pub(super) const BUFFER_KEPT: usize = 1 << 20;

/// What was received. `bytes` is all usable room; `start..end` was received and not used up yet.
pub(super) struct Input {
    pub(super) bytes: Vec<u8>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// How much of it, from `start`, lies in the spill already.
    pub(super) spilled: usize,
    /// How many bytes from `start` make the next frame whole.
    pub(super) need: u64,
    /// A long frame is being gathered in the spill: nothing of it is here.
    pub(super) gathering: bool,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER], start: 0, end: 0, spilled: 0, need: 0, gathering: false }
    }

    pub(super) fn empty(&mut self) {
        (self.start, self.end, self.spilled, self.need, self.gathering) = (0, 0, 0, 0, false);
        if self.bytes.len() > BUFFER_KEPT {
            self.bytes = vec![0; BUFFER];
        }
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn use_up(&mut self, used: usize) {
        if used == 0 {
            return;
        }
        self.start += used;
        // What is left lies elsewhere in the spill than it has to: it is written again.
        self.spilled = 0;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Makes room behind what is there: at least something, and more as more came, so that what a peer declares
    /// costs nothing before it sends it.
    pub(super) fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        if self.end == self.bytes.len() {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
    }
}
