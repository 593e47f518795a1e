//! The configuration of a cluster.

mod view;

pub use view::{Access, PairKey, Registry, Secret, View, ViewApp, ViewHost, ViewKv, ViewNode, ViewProject};
