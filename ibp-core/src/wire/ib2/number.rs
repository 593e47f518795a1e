//! The numbers of requests on one connection: 1, 2, ... 2^32 - 1, then 1 again. 0 stands for "none".

/// The number after `number`.
pub(super) fn after(number: u32) -> u32 {
    number.checked_add(1).unwrap_or(1)
}

/// How many numbers `to` comes after `from`.
pub(super) fn distance(from: u32, to: u32) -> u32 {
    // The way over the end is one shorter than with a wrap, since it leaves 0 out.
    to.checked_sub(from).unwrap_or_else(|| to + (u32::MAX - from))
}

#[cfg(test)]
mod tests {
    use super::{after, distance};

    #[test]
    fn zero_is_left_out() {
        assert_eq!(after(0), 1);
        assert_eq!(after(u32::MAX), 1);
        assert_eq!(distance(u32::MAX, 1), 1);
    }

    #[test]
    fn distance_counts_steps() {
        for from in [0, 1, 7, u32::MAX - 2, u32::MAX] {
            let mut number = from;
            for steps in 0..6 {
                assert_eq!(distance(from, number), steps, "from {from} to {number}");
                number = after(number);
            }
        }
    }
}
