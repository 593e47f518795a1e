//! The reading side: what every application process holds.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ibp_core::config::View;

use crate::attach::{Attachment, attach};
use crate::config::Config;
use crate::directory::Directory;
use crate::error::ShmError;
use crate::index::PublisherStatus;
use crate::memory::Memory;

/// A process's view of the configuration in force. One a process is enough: threads share it by reference.
///
/// It holds no descriptor, starts no thread, and can be used on both sides of a fork.
pub struct Reader {
    current: ArcSwap<Attachment>,
    source: Source,
}

enum Source {
    Directory(Directory),
    Memory(Mutex<Memory>),
}

/// What [`Reader::refresh`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The configuration is the same.
    Same,
    /// This generation is the current one now.
    Switched(u64),
}

impl Reader {
    /// Attaches to the segments of a directory.
    ///
    /// # Errors
    /// [`ShmError::NotThere`] or [`ShmError::NotPublished`] if there is nothing to read yet;
    /// [`ShmError::Insecure`], [`ShmError::Layout`] or [`ShmError::Damaged`] if what is there must not or
    /// cannot be read.
    pub fn attach(directory: &Directory) -> Result<Self, ShmError> {
        let attachment = attach(directory)?;
        Ok(Reader {
            current: ArcSwap::from_pointee(attachment),
            source: Source::Directory(directory.clone()),
        })
    }

    /// A reader of a view that lies in this process's own memory: for programs without an agent, and for
    /// tests. Everything but where the segments come from is the same.
    ///
    /// # Errors
    /// [`ShmError::InvalidView`], or [`ShmError::Io`] if there is no memory.
    pub fn from_view(view: &View) -> Result<Self, ShmError> {
        let mut memory = Memory::new()?;
        let attachment = memory.publish(view)?;
        Ok(Reader { current: ArcSwap::from_pointee(attachment), source: Source::Memory(Mutex::new(memory)) })
    }

    /// Puts another view in the place of the one that [`from_view`](Reader::from_view) was given, and returns
    /// its generation. Hosts that are in both keep their slots.
    ///
    /// # Errors
    /// [`ShmError::InvalidView`] if the view contradicts itself, or if this reader follows a directory;
    /// [`ShmError::Io`] if there is no memory. In all cases the view before stays.
    pub fn replace(&self, view: &View) -> Result<u64, ShmError> {
        let Source::Memory(memory) = &self.source else {
            return Err(ShmError::invalid(
                "through a reader of a directory",
                "only its agent can publish there",
            ));
        };
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let attachment = memory.publish(view)?;
        let generation = attachment.config.generation();
        self.current.store(Arc::new(attachment));
        Ok(generation)
    }

    /// The configuration that this reader is at. Wait-free.
    ///
    /// The guard keeps it readable; to hold it for long, take a [`snapshot`](Reader::snapshot). The first
    /// call of a thread allocates that thread's place in the book-keeping.
    #[must_use]
    pub fn current(&self) -> Guard {
        Guard(self.current.load())
    }

    /// The configuration that this reader is at, to be held for as long as wanted.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Config> {
        Arc::clone(&self.current.load().config)
    }

    /// Follows the agent to the newest configuration. Costs one load if nothing changed; to be called between
    /// transactions, and by an idle process about once a second.
    ///
    /// While there is no agent, because it was stopped, the reader stays where it is.
    ///
    /// # Errors
    /// As for [`attach`](Reader::attach), if there is a newer configuration that cannot be read. The reader
    /// stays where it is.
    #[inline]
    pub fn refresh(&self) -> Result<Refresh, ShmError> {
        let current = self.current.load();
        match &current.index {
            Some(index) if index.observe() != current.seen => self.switch(&current),
            _ => Ok(Refresh::Same),
        }
    }

    /// What the index says about the agent; `None` for a reader without one.
    #[must_use]
    pub fn publisher(&self) -> Option<PublisherStatus> {
        self.current.load().index.as_ref().map(|index| index.status())
    }

    #[cold]
    fn switch(&self, current: &Attachment) -> Result<Refresh, ShmError> {
        let Source::Directory(directory) = &self.source else { return Ok(Refresh::Same) };
        match attach(directory) {
            Ok(attachment) => Ok(self.install(Arc::new(attachment))),
            // Stopped, and no successor has published: nothing to follow.
            Err(ShmError::NotThere { .. } | ShmError::NotPublished { .. }) if current.is_closed() => {
                Ok(Refresh::Same)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes an attachment, unless another thread has found as new a one.
    fn install(&self, new: Arc<Attachment>) -> Refresh {
        let generation = new.config.generation();
        let mut current = self.current.load();
        while current.config.generation() < generation || current.is_closed() {
            let before = self.current.compare_and_swap(&*current, Arc::clone(&new));
            if Arc::ptr_eq(&before, &current) {
                return Refresh::Switched(generation);
            }
            current = before;
        }
        Refresh::Same
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("current", &*self.current()).finish_non_exhaustive()
    }
}

/// Keeps a configuration readable; see [`Reader::current`].
pub struct Guard(arc_swap::Guard<Arc<Attachment>>);

impl Deref for Guard {
    type Target = Config;

    #[inline]
    fn deref(&self) -> &Config {
        &self.0.config
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}
