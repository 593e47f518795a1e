//! Reading the test vectors in `tests/vectors/`; `docs/protocol.md` describes their format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ibp_core::Load;
use ibp_core::wire::ib2::{
    ClientHello, FetchFile, FileBegin, FrameType, Goodbye, GoodbyeReason, OutcomeAnswer, OutcomeQuery,
    PeerError, Request, Response, ResponseHead, ServerHello,
};
use ibp_core::wire::{AbortReason, ErrorCode, Execution, Limits, Outcome, RejectReason, TransactionId};

use super::message::Message;

/// One block of a vector file: a line that says what it is, then its fields.
#[derive(Debug)]
pub struct Block {
    /// Where it begins, `file:line`, for messages.
    pub place: String,
    /// The words of its first line.
    pub head: Vec<String>,
    fields: BTreeMap<String, Vec<u8>>,
    words: BTreeMap<String, String>,
}

/// All blocks of all files whose name begins with `prefix`, in order.
pub fn read_all(prefix: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for path in files(prefix) {
        blocks.extend(read(&path));
    }
    assert!(!blocks.is_empty(), "there are vectors");
    blocks
}

/// The vector files whose name begins with `prefix`, sorted.
pub fn files(prefix: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .collect();
    paths.sort();
    paths
}

/// The blocks of one file.
pub fn read(path: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut within = false;
    let mut field = String::new();
    for (index, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", index + 1);
        if line.trim().is_empty() {
            within = false;
            continue;
        }
        let line = without_comment(line).trim_end();
        if line.is_empty() {
            // Only a comment, which may stand within a block.
        } else if !within {
            let head = line.split_whitespace().map(str::to_owned).collect();
            blocks.push(Block { place, head, fields: BTreeMap::new(), words: BTreeMap::new() });
            within = true;
        } else {
            let block = blocks.last_mut().expect("a line within a block");
            let value = if line.starts_with(' ') {
                line
            } else {
                let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("{place}: no colon"));
                field = key.to_owned();
                value
            };
            let value = value.trim();
            block.words.entry(field.clone()).or_default().push_str(value);
            let bytes = block.fields.entry(field.clone()).or_default();
            match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
                Some(text) => bytes.extend_from_slice(text.as_bytes()),
                None => match hex(value) {
                    Some(more) => bytes.extend(more),
                    // A number or a word, which is not asked for as bytes.
                    None => assert!(field != "bytes", "{place}: not hexadecimal"),
                },
            }
        }
    }
    blocks
}

/// Bytes written as pairs of hexadecimal digits, `xx*n` standing for n of them. `None` for anything else.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        let (digits, times) = word.split_once('*').unwrap_or((word, "1"));
        if digits.len() != 2 {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        bytes.resize(bytes.len() + times.parse::<usize>().ok()?, byte);
    }
    Some(bytes)
}

/// A line without what follows a `#` that begins it or stands after a space outside quotes.
pub fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut space = true;
    for (at, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '#' if space && !quoted => return &line[..at],
            _ => {}
        }
        space = character == ' ';
    }
    line
}

impl Block {
    /// Whether it has the field.
    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The field as bytes.
    pub fn bytes(&self, field: &str) -> &[u8] {
        self.fields.get(field).unwrap_or_else(|| panic!("{}: it has no field {field}", self.place))
    }

    /// The field as it is written.
    pub fn word(&self, field: &str) -> &str {
        self.words.get(field).unwrap_or_else(|| panic!("{}: it has no field {field}", self.place))
    }

    /// The field as a number of the type that is wanted.
    pub fn number<N: TryFrom<i128>>(&self, field: &str) -> N {
        let value: Option<i128> = self.word(field).parse().ok();
        value
            .and_then(|value| N::try_from(value).ok())
            .unwrap_or_else(|| panic!("{}: {field} is not such a number", self.place))
    }

    /// The message that its fields, without `bytes`, describe; its type is `name`.
    pub fn message(&self, name: &str) -> Message<'_> {
        let frame = (0..=u8::MAX)
            .filter_map(FrameType::from_byte)
            .find(|frame| frame.name() == name)
            .unwrap_or_else(|| panic!("{}: there is no {name}", self.place));
        match frame {
            FrameType::ClientHello => Message::ClientHello(ClientHello {
                offers: self.number("offers"),
                requires: self.number("requires"),
                key_id: self.array("key_id"),
                nonce: self.array("nonce"),
                exchange: self.bytes("exchange"),
                node: self.text("node"),
            }),
            FrameType::ServerHello => Message::ServerHello(ServerHello {
                chosen: self.number("chosen"),
                limits: Limits {
                    max_body: self.number("max_body"),
                    max_files: self.number("max_files"),
                    max_file: self.number("max_file"),
                },
                load: self.load(),
                nonce: self.array("nonce"),
                proof: self.array("proof"),
                exchange: self.bytes("exchange"),
            }),
            FrameType::Error => Message::Error(PeerError {
                last_taken: self.number("last_taken"),
                code: ErrorCode::from_number(self.number("code")),
                text: self.text("text"),
            }),
            FrameType::Goodbye => Message::Goodbye(Goodbye {
                last_taken: self.number("last_taken"),
                reason: GoodbyeReason::from_number(self.number("reason")),
            }),
            FrameType::FileBegin => Message::FileBegin(
                self.number("number"),
                FileBegin {
                    size: self.number("size"),
                    digest: self.array("digest"),
                    name: self.bytes("name"),
                },
            ),
            FrameType::FileData => Message::FileData(self.number("number"), self.bytes("data")),
            FrameType::FileEnd => Message::FileEnd(self.number("number")),
            FrameType::Request => Message::Request(Request {
                number: self.number("number"),
                last: self.flag("last"),
                transaction: self.transaction(),
                remaining_ms: self.number("remaining_ms"),
                files: self.number("files"),
                app: self.text("app"),
                node: self.text("node"),
                body: self.bytes("body"),
            }),
            FrameType::Response => Message::Response(Response {
                head: ResponseHead {
                    number: self.number("number"),
                    transaction: self.transaction(),
                    execution: self.execution("execution"),
                    load: self.load(),
                    files: self.number("files"),
                },
                file_names: self.bytes("file_names"),
                body: self.bytes("body"),
            }),
            FrameType::FetchFile => {
                Message::FetchFile(self.number("number"), FetchFile { name: self.bytes("name") })
            }
            FrameType::FilesDone => Message::FilesDone(self.number("number")),
            FrameType::OutcomeQuery => Message::OutcomeQuery(OutcomeQuery {
                number: self.number("number"),
                last: self.flag("last"),
                transaction: self.transaction(),
            }),
            FrameType::OutcomeAnswer => Message::OutcomeAnswer(OutcomeAnswer {
                number: self.number("number"),
                transaction: self.transaction(),
                outcome: match self.word("outcome") {
                    "running" => Outcome::Running,
                    "unknown" => Outcome::Unknown,
                    _ => Outcome::Ended(self.execution("outcome")),
                },
                age_ms: self.number("age_ms"),
                horizon_ms: self.number("horizon_ms"),
            }),
            FrameType::ClientFinished | FrameType::Sealed => panic!("{}: {name} is reserved", self.place),
        }
    }

    fn execution(&self, field: &str) -> Execution {
        match self.word(field) {
            "rejected" => Execution::Rejected(RejectReason::from_number(self.number("reason"))),
            "executed" => Execution::Executed(self.number("code")),
            "aborted" => Execution::Aborted(AbortReason::from_number(self.number("reason"))),
            other => panic!("{}: {other} is no execution", self.place),
        }
    }

    fn load(&self) -> Load {
        Load { busy: self.number("busy"), workers: self.number("workers") }
    }

    fn transaction(&self) -> TransactionId {
        TransactionId(self.array("transaction"))
    }

    fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.bytes(field).try_into().unwrap_or_else(|_| panic!("{}: {field} is not {N} bytes", self.place))
    }

    fn text(&self, field: &str) -> &str {
        std::str::from_utf8(self.bytes(field))
            .unwrap_or_else(|_| panic!("{}: {field} is no text", self.place))
    }

    fn flag(&self, field: &str) -> bool {
        match self.word(field) {
            "yes" => true,
            "no" => false,
            other => panic!("{}: {field} is {other}, not yes or no", self.place),
        }
    }
}
