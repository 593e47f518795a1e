//! The one writer: the agent's side of the segments.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use ibp_core::config::View;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::board::{Board, Identity, identities, random_number};
use crate::boottime_ms;
use crate::directory::{Directory, OpenDirectory, OpenFile, READ_MODES, WRITE_MODES};
use crate::error::ShmError;
use crate::image::{self, Image, Placement};
use crate::index::{INDEX_LEN, INDEX_MAGIC, LAYOUT};
use crate::mapping::{ConfigMapping, WritableIndexMapping};
use crate::names;
use crate::publication::{self, Store};

/// How a publisher sets its segments up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublisherOptions {
    /// The group whose members may read the configuration and write loads, if applications run as other users
    /// than the agent (`shm_group`). Without one the segments are the owner's alone.
    pub group: Option<u32>,
}

/// Called after each system call and each store that changes what others see, with a name for it. Tests stop
/// the process there.
pub(crate) type Steps = Box<dyn FnMut(&'static str) + Send>;

/// The one writer of a directory's segments.
///
/// Dropping it leaves everything in place, as a kill does: readers keep what they have, new ones can attach,
/// and the next publisher goes on from there. [`close`](Publisher::close) takes the segments away.
///
/// A forked process shares the lock that makes this one the publisher until it runs another program or ends.
pub struct Publisher {
    directory: OpenDirectory,
    options: PublisherOptions,
    index: LockedIndex,
    board: Board,
    /// The generation in force; 0 if there is none.
    previous: u64,
    next: u64,
    /// The hosts of the generation in force, if this publisher published it.
    hosts: Option<HashSet<Identity>>,
    /// The segment of the generation in force, kept open.
    segment: Option<OpenFile>,
    /// The segment before it, and until when it is kept open. It has no name any more. Whoever is the last to
    /// let go of it frees its pages, which takes longer than all the rest of a switch: that should not be a
    /// reader.
    retired: Option<(OpenFile, u64)>,
    forget_at_ms: u64,
    steps: Steps,
}

impl Publisher {
    /// Becomes the publisher of a directory, which is made if it is missing. Takes over what is there: the
    /// generation in force stays so until the next is published, hosts keep their slots, left-overs of a
    /// publisher that was killed are removed.
    ///
    /// # Errors
    /// [`ShmError::Busy`] with the process id of the publisher that is at work there; [`ShmError::Insecure`]
    /// if something in the directory is somebody else's; [`ShmError::Full`] if there is no room.
    pub fn open(directory: &Directory, options: PublisherOptions) -> Result<Self, ShmError> {
        Self::open_with_steps(directory, options, false, Box::new(|_| {}))
    }

    /// The same, but begins from nothing: all segments are removed first, loads included. Readers that are
    /// attached keep what they have until something is published.
    ///
    /// # Errors
    /// As for [`open`](Publisher::open).
    pub fn open_clean(directory: &Directory, options: PublisherOptions) -> Result<Self, ShmError> {
        Self::open_with_steps(directory, options, true, Box::new(|_| {}))
    }

    /// For tests: see [`Steps`].
    #[doc(hidden)]
    pub fn open_with_steps(
        directory: &Directory,
        options: PublisherOptions,
        clean: bool,
        mut steps: Box<dyn FnMut(&'static str) + Send>,
    ) -> Result<Self, ShmError> {
        directory.create(options)?;
        steps("directory");
        let directory = directory.open()?;
        let (index, previous) = LockedIndex::take(&directory, options, clean, &mut *steps)?;
        let mut highest = previous.max(index.mapping.floor());
        for name in directory.names()? {
            if let Some(generation) = names::generation_of(&name) {
                highest = highest.max(generation);
            }
            if names::is_left_over(&name, previous) {
                directory.remove(&name)?;
                steps("left-over removed");
            }
        }
        let board = open_board(&directory, options, &mut *steps)?;
        let segment = directory.open_file(&names::config(previous), false, READ_MODES).ok().flatten();
        let now_ms = boottime_ms();
        index.mapping.sign(std::process::id(), now_ms, now_unix());
        steps("index: signed");
        Ok(Publisher {
            directory,
            options,
            index,
            board,
            previous,
            next: highest + 1,
            hosts: None,
            segment,
            retired: None,
            forget_at_ms: now_ms,
            steps,
        })
    }

    /// Publishes a view, and returns the number of its generation. Readers see the configuration before it or
    /// this one, never a mixture; hosts that were there before keep their slots, with load and retry time.
    ///
    /// # Errors
    /// [`ShmError::InvalidView`] if the view contradicts itself, [`ShmError::Full`] if there is no room,
    /// [`ShmError::Displaced`] if somebody removed the index. What was published before stays in force.
    pub fn publish(&mut self, view: &View) -> Result<u64, ShmError> {
        self.check_index()?;
        let generation = self.next;
        let hosts = identities(view);
        // Its room may be needed.
        self.retired = None;
        match self.write_and_announce(view, generation, &hosts) {
            Ok(segment) => {
                let until_ms = boottime_ms() + RETIREMENT_MS;
                self.retired = self.segment.replace(segment).map(|segment| (segment, until_ms));
                self.previous = generation;
                self.next += 1;
                let hosts = self.hosts.insert(hosts.into_iter().collect());
                self.board.keep(hosts, &mut *self.steps);
                self.heartbeat();
                Ok(generation)
            }
            Err(error) => {
                // The first error counts. What cannot be removed is a left-over, for the next start.
                let _ = self.directory.remove(&names::hidden_config(generation));
                if let Some(hosts) = &self.hosts {
                    self.board.keep(hosts, &mut *self.steps);
                }
                Err(error)
            }
        }
    }

    /// Says in the index that the publisher lives. To be called about once a second.
    pub fn heartbeat(&mut self) {
        const HOUR_MS: u64 = 60 * 60 * 1000;
        let now_ms = boottime_ms();
        self.index.mapping.beat(now_ms);
        // The next `publish` says what is wrong; readers need not wait for it.
        let _ = self.check_index();
        self.retired.take_if(|(_, until_ms)| now_ms >= *until_ms);
        if now_ms >= self.forget_at_ms {
            self.board.forget_old_loads(now_ms);
            self.forget_at_ms = now_ms + HOUR_MS;
        }
    }

    /// The generation in force; `None` if nothing is published.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        (self.previous != 0).then_some(self.previous)
    }

    /// A clean stop: closes the index, then removes all segments. Readers keep what they have, and find the
    /// next publisher's segments when there is one.
    ///
    /// # Errors
    /// [`ShmError::Io`] if something cannot be removed; the next publisher will do it.
    pub fn close(mut self) -> Result<(), ShmError> {
        // What is there may be another agent's by now.
        self.check_index()?;
        self.index.mapping.close();
        (self.steps)("index: closed");
        remove_segments(&self.directory, &mut *self.steps)?;
        // Last, since whoever has the lock on it is the publisher.
        self.directory.remove(names::INDEX)?;
        (self.steps)("index: removed");
        Ok(())
    }

    /// Whether the index that this publisher has locked is still the one that others find. If it is not, it is
    /// closed, so that its readers look for the one that is.
    fn check_index(&self) -> Result<(), ShmError> {
        if self.directory.inode_of(names::INDEX)? == Some(self.index.file.inode) {
            return Ok(());
        }
        self.index.mapping.close();
        Err(ShmError::Displaced { path: self.index.file.path.clone() })
    }

    fn write_and_announce(
        &mut self,
        view: &View,
        generation: u64,
        hosts: &[Identity],
    ) -> Result<OpenFile, ShmError> {
        image::check(view)?;
        let slots = self.board.assign(hosts, &mut *self.steps)?;
        let placement = Placement {
            generation,
            board_id: self.board.id(),
            board_len: self.board.file().len,
            slots: &slots,
        };
        let bytes = image::build(view, &placement)?;
        let hidden = names::hidden_config(generation);
        let mut file = self.directory.create_file(&hidden)?;
        (self.steps)("config: created");
        file.share(self.options.group, READ_MODES)?;
        (self.steps)("config: mode set");
        file.allocate(bytes.len() as u64)?;
        (self.steps)("config: allocated");
        file.write(&bytes, 0)?;
        (self.steps)("config: written");
        verify_file(&self.board, &file, generation)?;
        let mut store = Files { directory: &self.directory };
        publication::publish(&self.index.mapping, &mut store, self.previous, generation, &mut *self.steps)?;
        Ok(file)
    }
}

/// Readers look for a new generation at least once a second.
const RETIREMENT_MS: u64 = 3_000;

/// Checks the file as readers will map it, in full.
fn verify_file(board: &Board, file: &OpenFile, generation: u64) -> Result<(), ShmError> {
    let mapping = ConfigMapping::new(&board.file().fd, board.file().len, &file.fd, file.len)
        .map_err(|error| ShmError::io("map", &file.path, error))?;
    Image { bytes: mapping.config(), lines: mapping.lines() }.verify(generation, &file.path)
}

/// The segments of the generations, as files.
struct Files<'a> {
    directory: &'a OpenDirectory,
}

impl Store for Files<'_> {
    type Error = ShmError;

    fn place(&mut self, generation: u64) -> Result<(), ShmError> {
        self.directory.rename(&names::hidden_config(generation), &names::config(generation), false).map(drop)
    }

    fn remove(&mut self, generation: u64) {
        // What cannot be removed is a left-over, for the next start. The new generation is in force all the
        // same.
        let _ = self.directory.remove(&names::config(generation));
    }
}

/// The index, with the lock that makes its holder the publisher.
struct LockedIndex {
    mapping: WritableIndexMapping,
    /// Holds the lock.
    file: OpenFile,
}

impl LockedIndex {
    /// Takes the index, and says which generation is in force.
    fn take(
        directory: &OpenDirectory,
        options: PublisherOptions,
        clean: bool,
        steps: &mut dyn FnMut(&'static str),
    ) -> Result<(Self, u64), ShmError> {
        loop {
            let Some(file) = directory.open_file(names::INDEX, true, READ_MODES)? else {
                match Self::make(directory, options, true, 0, steps)? {
                    Some(index) => return Ok((index, 0)),
                    // Another publisher was faster.
                    None => continue,
                }
            };
            steps("index: opened");
            lock(&file)?;
            steps("index: locked");
            if directory.inode_of(names::INDEX)? != Some(file.inode) {
                // It was replaced before we had the lock.
                continue;
            }
            let mut floor = 0;
            match Usable::check(&file)? {
                Usable::Current(mapping, generation) if !clean => {
                    file.share(options.group, READ_MODES)?;
                    steps("index: mode set");
                    return Ok((LockedIndex { mapping, file }, generation));
                }
                Usable::Current(mapping, generation) | Usable::Outdated(mapping, generation) => {
                    // Before anything that it names is removed.
                    mapping.close();
                    steps("index: closed");
                    floor = generation.max(mapping.floor());
                }
                Usable::Not => {}
            }
            for name in directory.names()? {
                floor = floor.max(names::generation_of(&name).unwrap_or(0));
            }
            remove_segments(directory, steps)?;
            // In place of the old one, whose lock keeps all others out until this one's does.
            if let Some(index) = Self::make(directory, options, false, floor, steps)? {
                return Ok((index, 0));
            }
        }
    }

    /// Makes a new index, locked before it has its name. With `fresh`, `None` if there is one by then.
    fn make(
        directory: &OpenDirectory,
        options: PublisherOptions,
        fresh: bool,
        floor: u64,
        steps: &mut dyn FnMut(&'static str),
    ) -> Result<Option<Self>, ShmError> {
        let hidden = names::hidden_index(random_number());
        let mut file = directory.create_file(&hidden)?;
        steps("index: created");
        lock(&file)?;
        file.share(options.group, READ_MODES)?;
        steps("index: mode set");
        if let Err(error) = file.allocate(INDEX_LEN) {
            let _ = directory.remove(&hidden);
            return Err(error);
        }
        steps("index: allocated");
        let mapping = map_index(&file)?;
        // Generations begin at the time since boot, so that they go on rising even when everything that
        // remembers the last one is gone.
        mapping.format(floor.max(boottime_ms()));
        mapping.sign(std::process::id(), boottime_ms(), now_unix());
        steps("index: written");
        let placed = match directory.rename(&hidden, names::INDEX, fresh) {
            Ok(placed) => placed,
            // Another publisher, at work by now, took our file for a left-over.
            Err(ShmError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        steps("index: renamed");
        if !placed {
            directory.remove(&hidden)?;
            return Ok(None);
        }
        // Its lock excludes everybody only if it is the one that has the name.
        if directory.inode_of(names::INDEX)? != Some(file.inode) {
            return Ok(None);
        }
        Ok(Some(LockedIndex { mapping, file }))
    }
}

/// What can be done with an index that is there. The number is the generation in force.
enum Usable {
    /// Go on with it.
    Current(WritableIndexMapping, u64),
    /// Close it and make a new one: it is closed already, or of another layout.
    Outdated(WritableIndexMapping, u64),
    /// Make a new one: this is no index.
    Not,
}

impl Usable {
    fn check(file: &OpenFile) -> Result<Self, ShmError> {
        if file.len < INDEX_LEN {
            return Ok(Usable::Not);
        }
        let mapping = map_index(file)?;
        let seen = mapping.observe();
        if mapping.magic() != INDEX_MAGIC || seen.generation() > names::LAST_GENERATION {
            return Ok(Usable::Not);
        }
        let current = file.len == INDEX_LEN
            && mapping.layout() == LAYOUT
            && mapping.floor() <= names::LAST_GENERATION
            && !seen.is_closed();
        Ok(if current {
            Usable::Current(mapping, seen.generation())
        } else {
            Usable::Outdated(mapping, seen.generation())
        })
    }
}

fn map_index(file: &OpenFile) -> Result<WritableIndexMapping, ShmError> {
    WritableIndexMapping::new(&file.fd).map_err(|error| ShmError::io("map", &file.path, error))
}

fn lock(file: &OpenFile) -> Result<(), ShmError> {
    match rustix::fs::flock(&file.fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => {
            let pid = if file.len >= INDEX_LEN { map_index(file)?.status().pid } else { 0 };
            Err(ShmError::Busy { path: file.path.clone(), pid })
        }
        Err(error) => Err(ShmError::io("lock", &file.path, error)),
    }
}

/// The board of the publisher before, or an empty one in its place.
fn open_board(
    directory: &OpenDirectory,
    options: PublisherOptions,
    steps: &mut dyn FnMut(&'static str),
) -> Result<Board, ShmError> {
    if let Some(file) = directory.open_file(names::LOAD, true, WRITE_MODES)?
        && let Some(board) = Board::recover(file)?
    {
        board.file().share(options.group, WRITE_MODES)?;
        steps("load: mode set");
        return Ok(board);
    }
    let file = directory.create_file(names::HIDDEN_LOAD)?;
    steps("load: created");
    file.share(options.group, WRITE_MODES)?;
    steps("load: mode set");
    let board = Board::format(file)?;
    steps("load: written");
    directory.rename(names::HIDDEN_LOAD, names::LOAD, false)?;
    steps("load: renamed");
    Ok(board)
}

/// Removes every segment but the index.
fn remove_segments(directory: &OpenDirectory, steps: &mut dyn FnMut(&'static str)) -> Result<(), ShmError> {
    for name in directory.names()? {
        if name == names::LOAD || names::is_left_over(&name, 0) {
            directory.remove(&name)?;
            steps("segment removed");
        }
    }
    Ok(())
}

fn now_unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
