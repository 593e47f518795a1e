use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine was started, suspended time included (`CLOCK_BOOTTIME`).
///
/// It is the clock of every time in the load board: the same in all processes, and no administrator can set
/// it. On the usual clock sources it is read without a system call.
#[must_use]
pub fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // Neither part is negative: the clock starts at zero.
    now.tv_sec.unsigned_abs() * 1000 + u64::from(now.tv_nsec.unsigned_abs() as u32) / 1_000_000
}
