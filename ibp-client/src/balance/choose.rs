use std::time::Duration;

use ibp_shm::Retry;

use super::{Balancer, Hosts};
use crate::Cause;
use crate::cause::Unusable;

/// The host to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Its number in the node.
    pub(crate) number: usize,
    /// Perhaps another one can be asked if this one fails.
    pub(crate) has_alternatives: bool,
}

/// Chooses a host. One whose rest is over is taken at once by the caller that becomes its prober.
pub(crate) fn choose(
    balancer: &dyn Balancer,
    mut hosts: Hosts<'_>,
    lease: Duration,
) -> Result<Choice, Cause> {
    let has_alternatives = hosts.len() > hosts.tried.len() + 1;
    for with_refused in [false, true] {
        hosts.with_refused = with_refused;
        let chosen = balancer.choose(&hosts).filter(|&number| hosts.candidate(number).is_some());
        let number = due_for(&hosts, lease).or(chosen);
        if let Some(number) = number {
            return Ok(Choice { number, has_alternatives });
        }
    }
    Err(Cause::NoHost(explain(&hosts)))
}

/// The host whose rest is over, if this caller is the one of the whole machine that may try it.
fn due_for(hosts: &Hosts<'_>, lease: Duration) -> Option<usize> {
    let number = hosts.due.take()?;
    let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    hosts.node.host(number)?.slot().try_probe(hosts.now_ms, lease_ms).then_some(number)
}

/// Why none of the hosts could be chosen.
#[cold]
fn explain(hosts: &Hosts<'_>) -> Unusable {
    let mut unusable = Unusable::default();
    for host in hosts.node.hosts() {
        unusable.hosts += 1;
        let addr = host.addr();
        if host.invalid() || addr.port() == 0 {
            unusable.invalid += 1;
        } else if hosts.tried.iter().any(|attempt| attempt.excludes(addr)) {
            unusable.tried += 1;
        } else {
            match host.slot().retry(hosts.now_ms) {
                // The balancer did not want it.
                Retry::Ready => continue,
                Retry::Resting { .. } => unusable.resting += 1,
                // Another caller was quicker.
                Retry::Due { .. } | Retry::Probing { .. } => unusable.probing += 1,
            }
            unusable.example.get_or_insert(addr);
        }
    }
    unusable
}
