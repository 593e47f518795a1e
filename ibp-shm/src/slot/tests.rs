//! What the words hold, and who may write them.

use super::{Line, LoadWord, Reported, Retry, RetryWord, Slot, next_tag};
use ibp_core::Load;

const OWNER: u128 = 7 << 64 | 9;

fn line() -> (Line, u16) {
    let line = Line::free();
    let tag = line.give(OWNER, 0, &mut |_| {});
    (line, tag)
}

#[test]
fn a_load_is_read_as_it_was_reported() {
    let (line, tag) = line();
    let slot = Slot::new(Some(&line), 0, tag);
    assert_eq!(slot.load(1_000_000), None);
    for (busy, workers, permille, stored) in
        [(1, 4, 250, 4), (9, 9, 1000, 9), (0, 5000, 0, 4095), (0, 0, 1000, 0)]
    {
        assert!(slot.report(Load { busy, workers }, 1_000_000));
        let reported = Reported { permille, workers: stored, age_ms: 0 };
        assert_eq!(slot.load(1_000_000), Some(reported));
    }
    assert_eq!(slot.load(1_010_000).map(|load| load.age_ms), Some(9_984));
}

#[test]
fn the_age_of_a_load_survives_the_wrapping_of_its_time() {
    let wrap = 1_u64 << (26 + 6);
    for reported_at in [0, 1_000, wrap - 1, wrap, 3 * wrap - 64] {
        let word = LoadWord::pack(1, 500, 1, reported_at);
        for age in [0, 64, 5_000, 86_400_000, wrap - 2_000] {
            let found = LoadWord::unpack(word, reported_at + age).unwrap().age_ms;
            assert!(found.abs_diff(age) <= 64, "reported at {reported_at}, {found} instead of {age}");
        }
        // A reader that took the time a moment before the writer did.
        assert_eq!(LoadWord::unpack(word, reported_at.saturating_sub(500)).unwrap().age_ms, 0);
    }
}

#[test]
fn a_load_older_than_a_day_is_forgotten_and_a_younger_one_is_not() {
    let day = 24 * 60 * 60 * 1000;
    let (line, tag) = line();
    let slot = Slot::new(Some(&line), 0, tag);
    assert!(slot.report(Load { busy: 1, workers: 2 }, 5_000));
    line.forget_load(day, day);
    assert!(slot.load(day).is_some());
    line.forget_load(day + 10_000, day);
    assert_eq!(slot.load(day + 10_000), None);
    assert!(slot.report(Load { busy: 1, workers: 2 }, day + 20_000), "the line is still the host's");
}

#[test]
fn a_retry_word_keeps_all_that_it_is_given() {
    for state in 0..3 {
        for failures in [0, 1, 255] {
            for until_ms in [0, 1, (1 << 38) - 1] {
                let word = RetryWord { state, failures, until_ms };
                assert_eq!(RetryWord::unpack(word.pack(u16::MAX)), word);
            }
        }
    }
    let beyond = RetryWord { state: 1, failures: 1, until_ms: u64::MAX };
    assert_eq!(RetryWord::unpack(beyond.pack(1)).until_ms, (1 << 38) - 1);
}

#[test]
fn a_host_rests_is_probed_by_one_and_comes_back() {
    let (line, tag) = line();
    let (one, other) = (Slot::new(Some(&line), 0, tag), Slot::new(Some(&line), 0, tag));
    assert!(!one.try_probe(1_000, 100), "there is nothing to probe");
    one.failed(1_000, 500);
    other.failed(1_001, 5_000);
    assert_eq!(one.retry(1_499), Retry::Resting { until_ms: 1_500, failures: 1 });
    assert!(!one.try_probe(1_499, 100));
    assert_eq!(one.retry(1_500), Retry::Due { failures: 1 });
    assert!(one.try_probe(1_500, 100));
    assert!(!other.try_probe(1_500, 100));
    assert_eq!(other.retry(1_599), Retry::Probing { until_ms: 1_600 });
    // The prober was killed.
    assert_eq!(other.retry(1_600), Retry::Due { failures: 1 });
    assert!(other.try_probe(1_600, 100));
    other.failed(1_650, 500);
    assert_eq!(one.retry(1_700), Retry::Resting { until_ms: 2_150, failures: 2 });
    assert!(one.try_probe(2_150, 100));
    one.succeeded();
    assert_eq!(one.retry(2_150), Retry::Ready);
}

#[test]
fn who_had_the_line_before_neither_writes_nor_reads() {
    let (line, tag) = line();
    let late = Slot::new(Some(&line), 0, tag);
    assert!(late.report(Load { busy: 1, workers: 2 }, 0));
    late.failed(0, 1_000);
    let next = line.give(OWNER + 1, 0, &mut |_| {});
    assert_ne!(next, tag);
    let new = Slot::new(Some(&line), 0, next);
    assert_eq!((new.load(0), new.retry(0)), (None, Retry::Ready), "nothing is inherited");
    assert!(new.report(Load { busy: 1, workers: 4 }, 0));
    new.failed(0, 2_000);
    assert!(!late.report(Load { busy: 9, workers: 9 }, 0));
    late.succeeded();
    late.failed(3_000, 9_000);
    assert!(!late.try_probe(2_000, 100));
    assert_eq!((late.load(0), late.retry(0)), (None, Retry::Ready));
    assert_eq!(new.load(0).map(|load| load.permille), Some(250));
    assert_eq!(new.retry(0), Retry::Resting { until_ms: 2_000, failures: 1 });
}

#[test]
fn a_line_that_was_not_given_completely_is_free() {
    for stopped_after in 0..5 {
        let (line, first) = line();
        let mut steps = 0;
        let stop = std::panic::AssertUnwindSafe(|| {
            line.give(OWNER + 1, 0, &mut |_| {
                if steps == stopped_after {
                    std::panic::resume_unwind(Box::new(()));
                }
                steps += 1;
            })
        });
        assert!(std::panic::catch_unwind(stop).is_err());
        assert_eq!(line.owner(), None, "stopped after step {stopped_after}");
        let next = line.give(OWNER + 2, 0, &mut |_| {});
        assert!(next > first);
        assert!(line.is_in_use_by(OWNER + 2, next));
    }
}

#[test]
fn tags_go_round_without_zero() {
    assert_eq!((next_tag(0), next_tag(1), next_tag(u16::MAX)), (1, 2, 1));
}

#[test]
fn a_slot_outside_the_board_knows_nothing() {
    let slot = Slot::new(None, 4_000_000_000, 1);
    assert!(!slot.report(Load::default(), 0));
    assert!(!slot.try_probe(0, 1));
    slot.failed(0, 1);
    slot.succeeded();
    assert_eq!((slot.load(0), slot.retry(0)), (None, Retry::Ready));
}
