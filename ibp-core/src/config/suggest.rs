//! What somebody may have meant: the known word nearest to a misspelt one.

/// The candidate that is nearest to `word`, if one is near enough: at most one edit for three characters, where an
/// edit inserts, removes or replaces a character or swaps two neighbours; or one is the beginning of the other. Case
/// does not count.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = lower_case(word).take(LONGEST + 1).collect();
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    let most = (wanted.len() / 3).max(1);
    let mut best = None;
    for candidate in candidates {
        let mut distance = distance(&wanted, candidate);
        if distance > most && is_beginning(word, candidate) {
            distance = most;
        }
        if distance <= most && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Longer words get no suggestion: comparing takes time with the square of the length.
const LONGEST: usize = 64;

/// Whether one of the words is the beginning of the other: "description" of "desc".
fn is_beginning(word: &str, candidate: &str) -> bool {
    let shared = word.len().min(candidate.len());
    let (word, candidate) = (word.as_bytes(), candidate.as_bytes());
    shared >= 3 && word[..shared].eq_ignore_ascii_case(&candidate[..shared])
}

/// Optimal string alignment distance.
fn distance(wanted: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = lower_case(candidate).take(LONGEST + 1).collect();
    if candidate.len().abs_diff(wanted.len()) > wanted.len() / 3 + 1 {
        return usize::MAX;
    }
    let width = candidate.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    let mut row = vec![0; width];
    for (at, wanted_here) in wanted.iter().enumerate() {
        row[0] = at + 1;
        for (column, candidate_here) in candidate.iter().enumerate() {
            let replaced = last[column] + usize::from(wanted_here != candidate_here);
            row[column + 1] = replaced.min(last[column + 1] + 1).min(row[column] + 1);
            let swapped = at > 0
                && column > 0
                && *wanted_here == candidate[column - 1]
                && wanted[at - 1] == *candidate_here;
            if swapped {
                row[column + 1] = row[column + 1].min(before_last[column - 1] + 1);
            }
        }
        std::mem::swap(&mut before_last, &mut last);
        std::mem::swap(&mut last, &mut row);
    }
    last[width - 1]
}

fn lower_case(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const FIELDS: [&str; 7] = ["app", "desc", "bin", "timeout", "timeout2", "invalid", "server_node"];

    #[test]
    fn slips_are_recognised() {
        for (slip, meant) in [
            ("timout", "timeout"),
            ("tiemout", "timeout"),
            ("TIMEOUT2", "timeout2"),
            ("invlaid", "invalid"),
            ("server_nodes", "server_node"),
            ("servernode", "server_node"),
            ("ap", "app"),
            ("description", "desc"),
            ("time", "timeout"),
        ] {
            assert_eq!(nearest(slip, FIELDS), Some(meant), "{slip}");
        }
    }

    #[test]
    fn other_words_are_not() {
        for word in ["", "x", "password", "host", &"timeout".repeat(20)] {
            assert_eq!(nearest(word, FIELDS), None, "{word}");
        }
    }
}
