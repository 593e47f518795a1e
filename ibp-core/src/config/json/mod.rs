//! Relaxed JSON, the form of all configuration files, read in one pass with exact positions.
//!
//! What is allowed beyond JSON: comments (`// to the end of the line` and `/* ... */`), a comma after the last entry,
//! quoted numbers where a number is expected (`"18001"`), and bare words where one of a fixed set of words is expected
//! (`DEBUG`). Nothing else: a missing comma, a key without quotes, a number that does not fit, a key that stands twice
//! are errors, reported with line and column. After an error reading goes on where that makes sense, so that one run
//! reports what is wrong with the whole file.
//!
//! A program reads its file with a [`Reader`]: it says which fields an object may have ([`Shape`]) and takes each value
//! as what it has to be.
//!
//! ```
//! use ibp_core::config::json::{Reader, Shape, Source};
//!
//! const SERVER: Shape = Shape::new("server", &["ip", "port"]).required(&["port"]);
//!
//! let source = Source::new("demo.conf", r#"{ "port" : "18001" , /* loopback */ "ip" : "127.0.0.1" , }"#);
//! let mut reader = Reader::new(source);
//! let (mut ip, mut port) = (None, 0);
//! reader.root(&SERVER, |reader, field| match field {
//!     "ip" => ip = reader.text().map(|text| text.into_owned()),
//!     _ => port = reader.integer(1..=65_535).unwrap_or(0),
//! });
//! let warnings = reader.finish()?;
//! assert_eq!((ip.as_deref(), port), (Some("127.0.0.1"), 18001));
//! assert!(warnings.is_empty());
//! # Ok::<(), ibp_core::config::ConfigError>(())
//! ```
//!
//! Limits: 256 MiB a file, objects and lists 64 deep, the first 100 errors reported.

mod diagnostic;
mod literal;
mod object;
mod reader;
mod scan;
mod shape;
mod source;
mod tree;
mod value;

pub use diagnostic::{ConfigError, Diagnostic, Severity};
pub use reader::Reader;
pub use shape::Shape;
pub(super) use source::diagnostics_of;
pub use source::{MAX_FILE_BYTES, Source, Span};
pub(super) use tree::{Member, Tree, Value};
