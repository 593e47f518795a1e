use std::time::{Duration, Instant};

/// A moment by which something has to be over, and how long that was at first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    began: Instant,
    end: Instant,
}

impl Deadline {
    /// A deadline is at most this far away; more is no deadline in practice, and cannot overflow.
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

    pub(crate) fn after(timeout: Duration) -> Self {
        Self::from(Instant::now(), timeout)
    }

    pub(crate) fn from(began: Instant, timeout: Duration) -> Self {
        Self { began, end: began + timeout.min(Self::LONGEST) }
    }

    /// This deadline, or `limit` from now if that is earlier.
    pub(crate) fn at_most(self, limit: Duration) -> Self {
        let end = self.end.min(Instant::now() + limit.min(Self::LONGEST));
        Self { began: self.began, end }
    }

    /// What is left; `None` when it is over.
    pub(crate) fn remaining(self) -> Option<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    pub(crate) fn is_over(self) -> bool {
        self.remaining().is_none()
    }

    /// What is left in whole milliseconds, as it goes over the wire: rounded up, so that it is 0 only when it is over.
    pub(crate) fn remaining_ms(self) -> u32 {
        let left = self.remaining().unwrap_or_default();
        u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }

    /// How long it was at first.
    pub(crate) fn whole(self) -> Duration {
        self.end.saturating_duration_since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::Deadline;
    use std::time::Duration;

    #[test]
    fn far_deadlines_do_not_overflow() {
        let deadline = Deadline::after(Duration::MAX);
        assert_eq!(deadline.remaining_ms(), u32::MAX);
        assert!(!deadline.at_most(Duration::MAX).is_over());
    }

    #[test]
    fn an_over_deadline_has_nothing_left() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(deadline.is_over());
        assert_eq!(deadline.remaining_ms(), 0);
    }

    #[test]
    fn a_started_millisecond_counts() {
        assert_eq!(
            Deadline::after(Duration::from_secs(5)).at_most(Duration::from_secs(9)).remaining_ms(),
            5_000
        );
    }
}
