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
        self.remaining_at(Instant::now())
    }

    /// What was left at a moment that was read from the clock a little while ago.
    pub(crate) fn remaining_at(self, now: Instant) -> Option<Duration> {
        let left = self.end.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    pub(crate) fn is_over(self) -> bool {
        self.remaining().is_none()
    }

    /// What was left at a moment, in whole milliseconds, as it goes over the wire: rounded up, so that it is 0 only when it
    /// was over.
    pub(crate) fn remaining_ms_at(self, now: Instant) -> u32 {
        let left = self.remaining_at(now).unwrap_or_default();
        let milliseconds = left.as_secs() * 1000 + u64::from(left.subsec_nanos().div_ceil(1_000_000));
        u32::try_from(milliseconds).unwrap_or(u32::MAX)
    }

    /// How long it was at first.
    pub(crate) fn whole(self) -> Duration {
        self.end.saturating_duration_since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::Deadline;
    use std::time::{Duration, Instant};

    #[test]
    fn far_deadlines_do_not_overflow() {
        let deadline = Deadline::from(Instant::now(), Duration::MAX);
        assert_eq!(deadline.remaining_ms_at(Instant::now()), u32::MAX);
        assert!(!deadline.at_most(Duration::MAX).is_over());
    }

    #[test]
    fn an_over_deadline_has_nothing_left() {
        let deadline = Deadline::from(Instant::now(), Duration::ZERO);
        assert!(deadline.is_over());
        assert_eq!(deadline.remaining_ms_at(Instant::now()), 0);
    }

    #[test]
    fn a_started_millisecond_counts() {
        let now = Instant::now();
        let deadline = Deadline::from(now, Duration::from_micros(4_999_001));
        assert_eq!(deadline.remaining_ms_at(now), 5_000);
        assert_eq!(deadline.remaining_ms_at(now + Duration::from_micros(1_000)), 4_999);
        assert_eq!(deadline.remaining_at(now + Duration::from_secs(5)), None);
    }
}
