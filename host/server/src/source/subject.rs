//! Subjects and subject patterns: what matches, covers and overlaps what.

/// Where dead letters go; no source subject may touch it.
pub const DEAD_LETTERS: &str = "tidegate.dlq.>";

/// Does the pattern match this subject?
#[must_use]
pub fn matches(pattern: &str, subject: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), given.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(token), Some(other)) if token == "*" || token == other => {}
            _ => return false,
        }
    }
}

/// Is everything that `inner` matches matched by `outer`, too?
#[must_use]
pub fn covers(outer: &str, inner: &str) -> bool {
    let (mut outer, mut inner) = (outer.split('.'), inner.split('.'));
    loop {
        match (outer.next(), inner.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(_), Some(">")) => return false,
            (Some(token), Some(other)) if token == "*" || token == other => {}
            _ => return false,
        }
    }
}

/// Is there a subject that both match?
#[must_use]
pub fn overlaps(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// The patterns without those that another one covers: a server refuses filters that overlap, and core NATS would
/// deliver twice.
#[must_use]
pub fn reduce(patterns: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for pattern in patterns {
        if kept.iter().any(|other| covers(other, pattern)) {
            continue;
        }
        kept.retain(|other| !covers(pattern, other));
        kept.push(pattern.clone());
    }
    kept
}

/// Checks the configured subjects: well formed, and apart from the dead letters.
///
/// # Errors
/// Names the subject, what is wrong and what to do.
pub fn check(patterns: &[String]) -> Result<(), String> {
    if patterns.is_empty() {
        return Err("source.subjects is empty: name at least one subject".into());
    }
    for pattern in patterns {
        let tokens: Vec<&str> = pattern.split('.').collect();
        let last = tokens.len() - 1;
        let bad = |(at, token): (usize, &&str)| {
            token.is_empty()
                || token.chars().any(|c| c.is_whitespace() || c.is_control())
                || (token.len() > 1 && token.contains(['*', '>']))
                || (*token == ">" && at != last)
        };
        if tokens.iter().enumerate().any(bad) {
            return Err(format!(
                "source.subjects: `{pattern}` is no subject; tokens are separated by single dots, `*` and a last `>` stand alone"
            ));
        }
        if pattern.starts_with('$') || overlaps(pattern, DEAD_LETTERS) {
            return Err(format!(
                "source.subjects: `{pattern}` overlaps `{}`, which is not for events: name the subjects of the events themselves",
                if pattern.starts_with('$') { "$…" } else { DEAD_LETTERS }
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_tokens() {
        assert!(matches("metrics.*", "metrics.a"));
        assert!(!matches("metrics.*", "metrics.a.b"));
        assert!(!matches("metrics.*", "metrics"));
        assert!(matches("a.>", "a.b.c"));
        assert!(!matches("a.>", "a"));
        assert!(matches("a.b", "a.b"));
    }

    #[test]
    fn covering_and_overlapping_are_told_apart() {
        assert!(covers("metrics.>", "metrics.*"));
        assert!(!covers("metrics.*", "metrics.>"));
        assert!(!covers("metrics.a", "metrics.*"));
        assert!(overlaps("metrics.a", "metrics.*"));
        assert!(overlaps(">", "tidegate.dlq.>"));
        assert!(overlaps("*.b", "a.*"));
        assert!(!overlaps("a.b", "a.b.c"));
        assert!(!overlaps("a", "a.>"));
        let list = ["a.b", "a.*", "c.d", "a.>"].map(String::from);
        assert_eq!(reduce(&list), ["c.d", "a.>"]);
    }

    #[test]
    fn subjects_that_can_not_be_a_source_are_refused_with_the_way_out() {
        for wrong in ["", "a..b", "a.>.b", "a b", "a*", ">", "tidegate.dlq.x", "*.dlq.a", "$JS.API.>"] {
            assert!(check(&[wrong.to_owned()]).is_err(), "{wrong:?}");
        }
        assert!(check(&[]).is_err());
        assert!(check(&["metrics.*".to_owned(), "tidegate.events.>".to_owned()]).is_ok());
    }
}
