//! Choosing a host of a node.
//!
//! What may be chosen at all is decided here, for every [`Balancer`] alike: never a host that is invalid, is only a client
//! (port 0), was tried by this call, or rests after a failure to connect. Of a host whose rest is over, one caller on the
//! machine becomes the prober. A host that refused lately is left out as long as there is another one: refusing is quick, so
//! that a host which does nothing else would look idle and draw all the traffic.

mod candidates;
mod choose;
mod least_loaded;
mod notes;
mod two_choices;

pub use candidates::{Candidate, Hosts};
pub(crate) use choose::choose;
pub use least_loaded::LeastLoaded;
pub(crate) use notes::Notes;
pub use two_choices::TwoChoices;

/// Chooses the host that is asked next.
///
/// ```
/// use ibp_client::{Balancer, Hosts};
///
/// /// The first host that can be asked: a main host and its stand-ins.
/// #[derive(Debug)]
/// struct InOrder;
///
/// impl Balancer for InOrder {
///     fn choose(&self, hosts: &Hosts<'_>) -> Option<usize> {
///         (0..hosts.len()).find(|&number| hosts.candidate(number).is_some())
///     }
/// }
/// ```
pub trait Balancer: std::fmt::Debug + Send + Sync {
    /// The number of the chosen host; `None` if none can be asked. Called at least once for each short call and each new
    /// connection; it should neither block nor allocate. A number whose [`Hosts::candidate`] is `None` counts as `None`.
    fn choose(&self, hosts: &Hosts<'_>) -> Option<usize>;
}
