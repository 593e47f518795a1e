//! The configuration of a cluster: nodes, apps, projects, keys; and the part of it that one node sees.
//!
//! A [`Model`] is a whole cluster, validated. It is built in code ([`Model::builder`]) or read from files, and
//! [`Model::view`] derives what one node may see of it: the [`View`] that the agent publishes in shared memory.

mod builder;
mod changes;
mod derive_view;
mod entities;
mod files;
mod home;
mod image;
mod index;
pub mod json;
mod keys;
mod links;
mod model;
mod name;
mod problem;
mod rule;
mod save;
mod settings;
mod suggest;
mod validate;
mod view;

pub use builder::{AppBuilder, ModelBuilder, NodeBuilder, ProjectBuilder};
use derive_view::{CONNECTING_TIMEOUT_SECONDS, MIN_COMPRESS_BYTES, RETRY_CONNECT_SECONDS};

pub use changes::{Changes, Reason};
pub use entities::{App, Host, Kv, Node, Project};
pub use files::{ClusterFiles, ClusterTexts, Loaded};
pub use home::{Home, Program};
#[doc(hidden)]
pub use image::fuzz_image;
pub use json::{ConfigError, Diagnostic, Severity};
pub use keys::{KeyId, Keys, Pair};
pub use model::{Model, UnknownNode};
pub use name::Name;
pub use problem::{Entry, Field, Problem, Problems};
pub use rule::Rule;
pub use settings::{
    ClusterFileNames, Connecting, IbasSettings, IbmaSettings, IbmsSettings, KeyChange, LogChannel, LogLevel,
    LogOutput, LogPath, LogSettings, Mode, Security, WorkerPool,
};
pub use view::{Access, PairKey, Registry, Secret, View, ViewApp, ViewHost, ViewKv, ViewNode, ViewProject};
