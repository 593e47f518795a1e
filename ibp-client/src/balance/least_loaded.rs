use super::{Balancer, Hosts};

/// The host with the smallest load that was reported last, however long ago; one of which nothing is known counts as idle.
/// Among equals one at random (seed 004, 2.4.4).
///
/// It looks at every host of the node. When many clients decide by the same report they all go to the same host until its
/// next one: see [`TwoChoices`](super::TwoChoices).
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

impl Balancer for LeastLoaded {
    fn choose(&self, hosts: &Hosts<'_>) -> Option<usize> {
        let mut least = u16::MAX;
        let mut chosen = None;
        let mut equals = 0_u32;
        for number in 0..hosts.len() {
            let Some(candidate) = hosts.candidate(number) else { continue };
            let load = candidate.load.map_or(0, |load| load.permille);
            if chosen.is_none() || load < least {
                (least, chosen, equals) = (load, Some(number), 1);
            } else if load == least {
                // The n-th equal takes the place with probability 1/n: then each has the same chance.
                equals += 1;
                if fastrand::u32(..equals) == 0 {
                    chosen = Some(number);
                }
            }
        }
        chosen
    }
}
