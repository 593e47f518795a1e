//! Segments in the process's own memory: for readers without an agent.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use ibp_core::config::View;
use rustix::fs::MemfdFlags;

use crate::attach::{Attachment, map, read_header};
use crate::board::{Board, identities};
use crate::config::Config;
use crate::directory::OpenFile;
use crate::error::ShmError;
use crate::image::{self, Placement};
use crate::index::Observed;

/// A board and the number of the last generation; the generations themselves belong to their readers.
pub(crate) struct Memory {
    board: Board,
    generation: u64,
}

impl Memory {
    pub fn new() -> Result<Self, ShmError> {
        Ok(Memory { board: Board::format(memory_file("ibp-load")?)?, generation: 0 })
    }

    /// Makes the segment of the next generation.
    pub fn publish(&mut self, view: &View) -> Result<Attachment, ShmError> {
        image::check(view)?;
        let generation = self.generation + 1;
        let hosts = identities(view);
        let slots = self.board.assign(&hosts, &mut |_| {})?;
        let placement = Placement {
            generation,
            board_id: self.board.id(),
            board_len: self.board.file().len,
            slots: &slots,
        };
        let bytes = image::build(view, &placement)?;
        let mut file = memory_file("ibp-config")?;
        file.allocate(bytes.len() as u64)?;
        file.write(&bytes, 0)?;
        let header = read_header(&file, generation)?;
        let mapping = map(self.board.file(), &file, &header)?;
        self.board.keep(&hosts.into_iter().collect::<HashSet<_>>(), &mut |_| {});
        self.generation = generation;
        let config = Arc::new(Config::new(mapping, generation, file.path));
        Ok(Attachment { index: None, seen: Observed::NOTHING, config })
    }
}

fn memory_file(name: &str) -> Result<OpenFile, ShmError> {
    let path = PathBuf::from(format!("(memory) {name}"));
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)
        .map_err(|error| ShmError::io("allocate", &path, error))?;
    Ok(OpenFile { fd, len: 0, path, inode: 0 })
}
