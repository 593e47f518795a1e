//! The protocol between the publisher and the readers, apart from where the segments lie: in a directory, or
//! in the plain memory of a test.

use crate::index::{Index, Observed, WritableIndex};

/// Where the segments of the generations lie.
pub trait Store {
    /// Why something could not be done.
    type Error;

    /// Gives the segment of `generation`, complete and hidden until now, the name by which readers find it.
    fn place(&mut self, generation: u64) -> Result<(), Self::Error>;

    /// Takes the name of the segment of `generation` away. Who has it open keeps it.
    fn remove(&mut self, generation: u64);
}

/// Makes `generation` the newest one in place of `previous`. Its segment is written in full, under a hidden
/// name.
///
/// Whoever is stopped between two steps leaves a state that readers and the next publisher can use: before
/// the announcement the old generation is in force and the new segment a left-over; after it the old segment
/// is the left-over.
pub fn publish<S: Store>(
    index: &WritableIndex,
    store: &mut S,
    previous: u64,
    generation: u64,
    steps: &mut dyn FnMut(&'static str),
) -> Result<(), S::Error> {
    store.place(generation)?;
    steps("config: renamed");
    index.announce(generation);
    steps("index: generation");
    if previous != 0 {
        store.remove(previous);
        steps("config: previous removed");
    }
    Ok(())
}

/// What following an index led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Followed<T> {
    /// The segment that it names.
    At(Observed, T),
    /// Nothing was published yet.
    Unpublished,
    /// The index is closed.
    Closed,
    /// The segment of this generation is gone although the index still names it.
    Gone(u64),
    /// It named another segment, that was gone again, this often.
    Restless(u32),
}

/// How often a reader that finds a segment gone reads the index again. Each time the publisher has published
/// once more in the meantime, which takes it longer than it takes the reader to look; so this is far more
/// than ever happens.
pub const ATTEMPTS: u32 = 1000;

/// Opens the newest segment. `open` gives `None` for a generation whose segment has no name (any more).
pub fn follow<T, E>(
    index: &Index,
    mut open: impl FnMut(u64) -> Result<Option<T>, E>,
) -> Result<Followed<T>, E> {
    for _ in 0..ATTEMPTS {
        let seen = index.observe();
        if seen.is_closed() {
            return Ok(Followed::Closed);
        }
        if seen.generation() == 0 {
            return Ok(Followed::Unpublished);
        }
        if let Some(segment) = open(seen.generation())? {
            return Ok(Followed::At(seen, segment));
        }
        // A name is taken away only after a newer generation was announced, or the index closed: if the word
        // is still the same, somebody else took it.
        if index.observe() == seen {
            return Ok(Followed::Gone(seen.generation()));
        }
    }
    Ok(Followed::Restless(ATTEMPTS))
}
