/// How busy a server platform is: the figure that travels in each response and steers the next choice of a host
/// (seed 004, 2.4.4: workers that are working, of all workers).
///
/// The asking worker counts itself, so a response never carries `busy == 0` from a platform that has workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Load {
    /// Workers that are working.
    pub busy: u16,
    /// All workers.
    pub workers: u16,
}

impl Load {
    /// Busy workers per thousand, 0 to 1000; a platform without workers counts as full.
    #[must_use]
    pub fn permille(self) -> u16 {
        if self.workers == 0 {
            return 1000;
        }
        let permille = u32::from(self.busy.min(self.workers)) * 1000 / u32::from(self.workers);
        // At most 1000, since busy was clamped to workers.
        permille as u16
    }
}

#[cfg(test)]
mod tests {
    use super::Load;

    #[test]
    fn permille_is_bounded_and_exact() {
        assert_eq!(Load { busy: 1, workers: 4 }.permille(), 250);
        assert_eq!(Load { busy: 9, workers: 4 }.permille(), 1000);
        assert_eq!(Load { busy: 0, workers: 0 }.permille(), 1000);
        assert_eq!(Load { busy: u16::MAX, workers: u16::MAX }.permille(), 1000);
    }
}
