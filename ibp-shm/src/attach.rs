//! From a directory to a mapped configuration, in constant time.

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::config::Config;
use crate::directory::{Directory, OpenDirectory, OpenFile, READ_MODES, WRITE_MODES};
use crate::error::ShmError;
use crate::image::Image;
use crate::image::layout::Header;
use crate::index::{INDEX_LEN, INDEX_MAGIC, LAYOUT, Observed};
use crate::mapping::{ConfigMapping, IndexMapping};
use crate::names;
use crate::publication::{Followed, follow};

/// A configuration, and by what to tell that it is no longer the newest.
pub(crate) struct Attachment {
    /// `None` for a configuration that no agent published.
    pub index: Option<IndexMapping>,
    pub seen: Observed,
    pub config: Arc<Config>,
}

impl Attachment {
    pub fn is_closed(&self) -> bool {
        self.index.as_ref().is_some_and(|index| index.observe().is_closed())
    }
}

/// How often a closed index is looked up again by path. A successor is in its place, or nobody is.
const LOOKS: u32 = 16;

/// Attaches to the newest configuration of a directory.
pub(crate) fn attach(directory: &Directory) -> Result<Attachment, ShmError> {
    let opened = directory.open()?;
    let path = opened.path_of(names::INDEX);
    for _ in 0..LOOKS {
        let index = open_index(&opened, &path)?;
        match follow(&index, |generation| open_config(&opened, generation))? {
            Followed::At(seen, config) => {
                return Ok(Attachment { index: Some(index), seen, config: Arc::new(config) });
            }
            Followed::Unpublished => return Err(ShmError::NotPublished { path }),
            Followed::Gone(generation) => {
                return Err(ShmError::Gone { path: opened.path_of(&names::config(generation)) });
            }
            Followed::Restless(attempts) => return Err(ShmError::Restless { path, attempts }),
            Followed::Closed => {}
        }
    }
    Err(ShmError::NotThere { path })
}

fn open_index(directory: &OpenDirectory, path: &Path) -> Result<IndexMapping, ShmError> {
    let file = directory
        .open_file(names::INDEX, false, READ_MODES)?
        .ok_or_else(|| ShmError::NotThere { path: path.to_owned() })?;
    if file.len < INDEX_LEN {
        return Err(ShmError::damaged(path, format!("it has {} bytes, not {INDEX_LEN}", file.len)));
    }
    let index = IndexMapping::new(&file.fd).map_err(|error| ShmError::io("map", path, error))?;
    if index.magic() != INDEX_MAGIC {
        return Err(ShmError::damaged(path, "it does not begin like an index"));
    }
    if index.layout() != LAYOUT {
        return Err(ShmError::Layout { path: path.to_owned(), found: index.layout(), supported: LAYOUT });
    }
    Ok(index)
}

/// Maps a generation; `None` if its files are not, or no longer, those of this generation.
fn open_config(directory: &OpenDirectory, generation: u64) -> Result<Option<Config>, ShmError> {
    let Some(file) = directory.open_file(&names::config(generation), false, READ_MODES)? else {
        return Ok(None);
    };
    let Some(board) = directory.open_file(names::LOAD, true, WRITE_MODES)? else { return Ok(None) };
    let header = read_header(&file, generation)?;
    let mapping = map(&board, &file, &header)?;
    match mapping.board_header().id() {
        Some(id) if id == header.board_id => Ok(Some(Config::new(mapping, generation, file.path))),
        Some(_) => Ok(None),
        None => Err(ShmError::damaged(&board.path, "it does not begin like a load board")),
    }
}

/// Reads and checks the header of a configuration.
pub(crate) fn read_header(file: &OpenFile, generation: u64) -> Result<Header, ShmError> {
    let mut start = [0_u8; size_of::<Header>()];
    let mut read = 0;
    while let Some(rest) = start.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&file.fd, rest, read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(ShmError::io("read", &file.path, error)),
        }
    }
    Image::check_header(start.get(..read).unwrap_or_default(), generation, file.len, &file.path)
}

/// Maps the board as far as the header says, and the configuration after it.
pub(crate) fn map(board: &OpenFile, file: &OpenFile, header: &Header) -> Result<ConfigMapping, ShmError> {
    let page = rustix::param::page_size() as u64;
    if header.board_len == 0 || !header.board_len.is_multiple_of(page) {
        let problem =
            format!("it wants {} bytes of the load board, which are no whole pages", header.board_len);
        return Err(ShmError::damaged(&file.path, problem));
    }
    if board.len < header.board_len {
        let problem = format!("it has {} bytes, and a configuration wants {}", board.len, header.board_len);
        return Err(ShmError::damaged(&board.path, problem));
    }
    ConfigMapping::new(&board.fd, header.board_len, &file.fd, file.len)
        .map_err(|error| ShmError::io("map", &file.path, error))
}
