//! Compiled images of configuration texts: `X.conf.bin` beside `X.conf`, which loads without parsing.
//!
//! An image belongs to one content of its text. It is used while size, time of modification, time of the last change
//! and inode of the text are those that it was made from; when one of them differs the text's digest decides. A text
//! that was changed within the last seconds before the image was made could change once more without any of them
//! showing it, so that its image always goes by the digest.
//!
//! ```text
//!   0   8  "IBPIMAGE"
//!   8   4  layout version
//!  12   4  CRC-32 of everything after this field
//!  16   4  what is inside: 1 nodes, 2 apps, 3 projects
//!  20   4  1 if the text had been left alone for some seconds when the image was made
//!  24   8  size of the text
//!  32   8  its time of modification, in nanoseconds since 1970
//!  40   8  its time of the last change of the file, likewise
//!  48   8  its inode
//!  56  32  its SHA-256
//!  88      entries (see `codec`)
//! ```
//!
//! All numbers are little-endian. A new layout gets a new version; images of other versions are not read, since
//! their texts are there.

mod codec;

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::files::{Draft, FileMode, read_limited, write_atomically};
use super::{App, Node, Project};

const MAGIC: &[u8; 8] = b"IBPIMAGE";
const LAYOUT: u32 = 1;
const HEADER_BYTES: usize = 88;
/// A text that was changed less than this before may change again without a trace: no file system's clock is coarser.
const SETTLED_AFTER_NS: i64 = 3_000_000_000;

/// What is in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nodes = 1,
    Apps = 2,
    Projects = 3,
}

/// What an image is made of.
#[derive(Clone, Copy)]
pub(super) enum Entries<'a> {
    Nodes(&'a [Node]),
    Apps(&'a [App]),
    Projects(&'a [Project]),
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified_ns: i64,
    changed_ns: i64,
    inode: u64,
}

/// An image whose header and checksum are right.
pub(super) struct Image {
    bytes: Vec<u8>,
}

/// Why there is no image to use. The text is there: this is never an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is not a compiled image")]
    Foreign,
    #[error("it has layout {0}, this software has layout {LAYOUT}")]
    Layout(u32),
    #[error("it holds other entries than its name says")]
    Kind,
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it was made from another content of the text")]
    Stale,
}

/// Where the image of a text stands.
pub(super) fn path_of(text: &Path) -> PathBuf {
    let mut name = text.as_os_str().to_owned();
    name.push(".bin");
    PathBuf::from(name)
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Stamp {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Stamp {
            size: metadata.len(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Whether the file was left alone long enough before `now` for the next change to show.
    fn is_settled(&self, now_ns: i64) -> bool {
        now_ns.saturating_sub(self.changed_ns.max(self.modified_ns)) >= SETTLED_AFTER_NS
    }
}

impl Image {
    /// Reads an image. `None` if there is none.
    pub fn read(path: &Path, kind: Kind) -> Result<Option<Image>, Unusable> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Image::check(read_limited(&file)?, kind).map(Some)
    }

    pub fn check(bytes: Vec<u8>, kind: Kind) -> Result<Image, Unusable> {
        if !bytes.starts_with(MAGIC) || bytes.len() < HEADER_BYTES {
            return Err(Unusable::Foreign);
        }
        let image = Image { bytes };
        let layout = u32::from_le_bytes(image.field(8));
        if layout != LAYOUT {
            return Err(Unusable::Layout(layout));
        }
        if u32::from_le_bytes(image.field(12)) != crc32fast::hash(&image.bytes[16..]) {
            return Err(Unusable::Damaged("its checksum is wrong"));
        }
        if u32::from_le_bytes(image.field(16)) != kind as u32 {
            return Err(Unusable::Kind);
        }
        Ok(image)
    }

    /// Whether the image is known to belong to the text with this stamp, without a look at the text.
    pub fn belongs_to(&self, text: &Stamp) -> bool {
        let made_from = Stamp {
            size: u64::from_le_bytes(self.field(24)),
            modified_ns: i64::from_le_bytes(self.field(32)),
            changed_ns: i64::from_le_bytes(self.field(40)),
            inode: u64::from_le_bytes(self.field(48)),
        };
        u32::from_le_bytes(self.field(20)) == 1 && made_from == *text
    }

    /// Whether the image was made from this text.
    pub fn is_made_from(&self, text: &str) -> bool {
        self.field::<32>(56) == digest(text)
    }

    /// Adds the entries to a draft. Names share their text with those that the draft has already.
    pub fn decode(&self, kind: Kind, draft: &mut Draft) -> Result<(), Unusable> {
        codec::decode(kind, &self.bytes[HEADER_BYTES..], draft).map_err(Unusable::Damaged)
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        if let Some(bytes) = self.bytes.get(at..at + N) {
            field.copy_from_slice(bytes);
        }
        field
    }
}

/// Writes the image of a text, readable for those who can read the text, and returns its path. `now` tells whether the
/// text is settled.
pub(super) fn write(
    path: &Path,
    text: &str,
    stamp: Stamp,
    entries: Entries<'_>,
    now: SystemTime,
) -> io::Result<PathBuf> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let bytes = encode(text, stamp, i64::try_from(now).unwrap_or(0), entries)?;
    let image = path_of(path);
    let mode = fs::metadata(path)?.mode() & 0o666;
    write_atomically(&image, &bytes, FileMode::Exactly(mode))?;
    Ok(image)
}

fn encode(text: &str, stamp: Stamp, now_ns: i64, entries: Entries<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + text.len() / 2);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&LAYOUT.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(entries.kind() as u32).to_le_bytes());
    bytes.extend_from_slice(&u32::from(stamp.is_settled(now_ns)).to_le_bytes());
    bytes.extend_from_slice(&stamp.size.to_le_bytes());
    bytes.extend_from_slice(&stamp.modified_ns.to_le_bytes());
    bytes.extend_from_slice(&stamp.changed_ns.to_le_bytes());
    bytes.extend_from_slice(&stamp.inode.to_le_bytes());
    bytes.extend_from_slice(&digest(text));
    codec::encode(entries, &mut bytes).map_err(io::Error::other)?;
    let checksum = crc32fast::hash(&bytes[16..]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

impl Entries<'_> {
    fn kind(&self) -> Kind {
        match self {
            Entries::Nodes(_) => Kind::Nodes,
            Entries::Apps(_) => Kind::Apps,
            Entries::Projects(_) => Kind::Projects,
        }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Decodes arbitrary bytes as each kind of image, with the checksum put right, so that a fuzzer gets behind it.
#[doc(hidden)]
pub fn fuzz_image(bytes: &[u8]) -> usize {
    let mut found = 0;
    for kind in [Kind::Nodes, Kind::Apps, Kind::Projects] {
        found += usize::from(Image::check(bytes.to_vec(), kind).is_ok());
        let mut image = vec![0; HEADER_BYTES];
        image[..8].copy_from_slice(MAGIC);
        image[8..12].copy_from_slice(&LAYOUT.to_le_bytes());
        image[16..20].copy_from_slice(&(kind as u32).to_le_bytes());
        image.extend_from_slice(bytes);
        let checksum = crc32fast::hash(&image[16..]);
        image[12..16].copy_from_slice(&checksum.to_le_bytes());
        let mut draft = Draft::default();
        if Image::check(image, kind).and_then(|image| image.decode(kind, &mut draft)).is_ok() {
            found += 1 + usize::from(draft.build().is_ok());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Host, Kv, Name};

    fn stamp() -> Stamp {
        Stamp { size: 4, modified_ns: 10, changed_ns: 20, inode: 7 }
    }

    fn nodes() -> Vec<Node> {
        let host = |ip: &str, port| Host::parse(ip, port).unwrap();
        vec![
            Node { hosts: vec![host("158.1.0.56", 18001), host("::1", -2)], ..Node::new("ECIF") },
            Node {
                invalid: true, kv: vec![Kv { key: "K".into(), value: "值".into() }], ..Node::new("CORE")
            },
        ]
    }

    fn image(nodes: &[Node]) -> Vec<u8> {
        encode("text", stamp(), 20 + SETTLED_AFTER_NS, Entries::Nodes(nodes)).unwrap()
    }

    #[test]
    fn nodes_come_back() {
        let image = Image::check(image(&nodes()), Kind::Nodes).ok().unwrap();
        let mut draft = Draft::default();
        image.decode(Kind::Nodes, &mut draft).unwrap();
        assert_eq!(draft.build().unwrap().nodes(), nodes());
        assert!(image.belongs_to(&stamp()));
        assert!(image.is_made_from("text") && !image.is_made_from("test"));
    }

    #[test]
    fn apps_and_projects_come_back() {
        let names = |names: &[&str]| names.iter().map(|name| Name::from(*name)).collect::<Vec<_>>();
        let app = App {
            desc: "echo".into(),
            bin: "echo.so".into(),
            timeout_seconds: 50,
            timeout2_seconds: 86_400,
            invalid: true,
            server_node: Some("ECIF".into()),
            ..App::new("echo")
        };
        let apps = [app, App::new("pay")];
        let project = Project {
            server_nodes: names(&["ECIF"]),
            client_nodes: names(&["CORE", "ECIF"]),
            apps: names(&["pay", "echo"]),
            ..Project::new("p")
        };
        let projects = [project, Project::new("empty")];
        let mut draft = Draft::default();
        for entries in [Entries::Nodes(&nodes()), Entries::Apps(&apps), Entries::Projects(&projects)] {
            let kind = entries.kind();
            let image = Image::check(encode("", stamp(), 0, entries).unwrap(), kind).ok().unwrap();
            image.decode(kind, &mut draft).unwrap();
        }
        let model = draft.build().unwrap();
        assert_eq!((model.apps(), model.projects()), (&apps[..], &projects[..]));
    }

    #[test]
    fn a_text_that_changed_just_now_is_recognised_by_its_digest_only() {
        let unsettled = encode("text", stamp(), 20 + SETTLED_AFTER_NS - 1, Entries::Nodes(&[])).unwrap();
        let image = Image::check(unsettled, Kind::Nodes).ok().unwrap();
        assert!(!image.belongs_to(&stamp()) && image.is_made_from("text"));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let image = image(&nodes());
        for at in 0..image.len() * 8 {
            let mut damaged = image.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert!(Image::check(damaged, Kind::Nodes).is_err(), "bit {at}");
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        let image = image(&nodes());
        for length in 0..image.len() {
            assert!(Image::check(image[..length].to_vec(), Kind::Nodes).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn another_kind_or_layout_is_refused() {
        let mut image = image(&nodes());
        assert!(matches!(Image::check(image.clone(), Kind::Apps), Err(Unusable::Kind)));
        image[8] = 2;
        assert!(matches!(Image::check(image, Kind::Nodes), Err(Unusable::Layout(2))));
    }

    #[test]
    fn the_layout_has_not_changed_unnoticed() {
        // When this fails on purpose, LAYOUT has to be raised.
        let entries: String =
            image(&nodes())[HEADER_BYTES..].iter().map(|byte| format!("{byte:02x}")).collect();
        let known = "0204454349460002049e010038fba28c00060000000000000000000000000000000103000004434f5245010001014b03e580bc";
        assert_eq!(entries, known);
    }
}
