use super::{Balancer, Candidate, Hosts};

/// The default: of two hosts taken at random the less loaded one, ties at random.
///
/// Load is what the host reported, if that is recent enough ([`Hosts::report_expiry`]), and what this process has in flight
/// there. Two random choices spread load nearly as well as looking at all hosts does, and do not send every client to the
/// one host whose report was lowest (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
#[derive(Clone, Copy, Debug, Default)]
pub struct TwoChoices;

impl Balancer for TwoChoices {
    fn choose(&self, hosts: &Hosts<'_>) -> Option<usize> {
        let (first, one) = at_random(hosts, None)?;
        let Some((second, other)) = at_random(hosts, Some(first)) else { return Some(first) };
        // `first` is a random one already: it may win the tie.
        if load(&other, hosts) < load(&one, hosts) { Some(second) } else { Some(first) }
    }
}

/// A random host that can be asked, other than `except`.
fn at_random(hosts: &Hosts<'_>, except: Option<usize>) -> Option<(usize, Candidate)> {
    const DRAWS: usize = 8;
    let count = hosts.len();
    if count == 0 {
        return None;
    }
    let look = |number: usize| {
        if Some(number) == except {
            None
        } else {
            hosts.candidate(number).map(|candidate| (number, candidate))
        }
    };
    if count > 2
        && let Some(found) = (0..DRAWS).find_map(|_| look(fastrand::usize(..count)))
    {
        return Some(found);
    }
    // Few can be asked, or few are there: look at each one.
    let start = fastrand::usize(..count);
    (0..count).find_map(|step| look((start + step) % count))
}

/// Busy workers per thousand, as far as known: reported ones and those that this process keeps busy. The reported ones
/// include some of the latter, at each host alike.
fn load(candidate: &Candidate, hosts: &Hosts<'_>) -> u64 {
    /// Of a host of which nothing is known yet.
    const WORKERS: u64 = 4;
    let expiry_ms = u64::try_from(hosts.report_expiry().as_millis()).unwrap_or(u64::MAX);
    let workers = candidate.load.map_or(WORKERS, |load| u64::from(load.workers)).max(1);
    let reported =
        candidate.load.filter(|load| load.age_ms <= expiry_ms).map_or(0, |load| u64::from(load.permille));
    reported + u64::from(candidate.in_flight) * 1000 / workers
}
