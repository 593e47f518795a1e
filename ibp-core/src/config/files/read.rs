//! Reading files from disk: the only place of the configuration that opens files to read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::image::Stamp;
use crate::config::json::{MAX_FILE_BYTES, Source, Span, diagnostics_of};
use crate::config::{ConfigError, Diagnostic};

/// The text of a file.
pub(in crate::config) fn read_text(path: &Path) -> Result<String, ConfigError> {
    open_text(path).and_then(|file| file.read())
}

/// A text that is open and not read yet.
pub(in crate::config) struct TextFile<'p> {
    path: &'p Path,
    file: File,
    /// Taken before reading: what is read is this content or a later one, never an earlier one.
    pub stamp: Stamp,
}

/// Opens a text.
pub(in crate::config) fn open_text(path: &Path) -> Result<TextFile<'_>, ConfigError> {
    let open = || {
        let file = File::open(path)?;
        let stamp = Stamp::of(&file.metadata()?);
        Ok(TextFile { path, file, stamp })
    };
    open().map_err(|error: io::Error| unreadable(path, &error))
}

impl TextFile<'_> {
    /// Reads it.
    pub fn read(&self) -> Result<String, ConfigError> {
        let bytes = read_limited(&self.file).map_err(|error| unreadable(self.path, &error))?;
        into_text(self.path, bytes)
    }
}

/// The text of a file that holds keys; `None` if there is no such file.
///
/// The file has to be closed to all but its owner: who can write it chooses the keys, who can read it has them.
pub(in crate::config) fn read_secret_text(path: &Path) -> Result<Option<String>, ConfigError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if metadata.mode() & 0o077 != 0 {
        let message = format!(
            "the file holds keys and others have access to it (mode {:03o})",
            metadata.mode() & 0o777
        );
        let hint = format!("chmod 600 {}, and change the keys if they may have been read", path.display());
        return Err(ConfigError::of(
            Diagnostic::of_file(path.display().to_string(), message).with_hint(hint),
        ));
    }
    let bytes = read_limited(&file).map_err(|error| unreadable(path, &error))?;
    into_text(path, bytes).map(Some)
}

/// The content of a file of reasonable size.
pub(in crate::config) fn read_limited(file: &File) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let too_large = || {
        let message = format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20);
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if length > MAX_FILE_BYTES {
        return Err(too_large());
    }
    // One byte more than expected, so that the end is found without growing.
    let mut bytes = Vec::with_capacity(length + 1);
    let limit = MAX_FILE_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn into_text(path: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    String::from_utf8(bytes)
        .map_err(|error| not_utf8(path, error.as_bytes(), error.utf8_error().valid_up_to()))
}

/// The first byte that is not UTF-8, with line and column.
fn not_utf8(path: &Path, bytes: &[u8], valid: usize) -> ConfigError {
    let byte = bytes.get(valid).copied().unwrap_or(0);
    let text = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
    let name = path.display().to_string();
    let source = Source::new(&name, text).secret();
    let message = format!("the file is not UTF-8: it contains the byte 0x{byte:02x} here");
    let place = Span { from: valid as u32, to: valid as u32 };
    let hint = "convert it, for example: iconv -f GB18030 -t UTF-8";
    let diagnostics = diagnostics_of(source, [(place, message)]).into_iter();
    ConfigError { diagnostics: diagnostics.map(|diagnostic| diagnostic.with_hint(hint)).collect() }
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    ConfigError::of(Diagnostic::of_file(path.display().to_string(), format!("cannot be read: {error}")))
}
