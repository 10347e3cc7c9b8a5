//! Two texts line by line.

/// Lines of both: `-` only in the first, `+` only in the second.
pub(super) fn lines(first: &str, second: &str) -> String {
    let (first, second): (Vec<&str>, Vec<&str>) = (first.lines().collect(), second.lines().collect());
    // common[i][j]: how many lines the rests from i and j have in common, in order.
    let mut common = vec![vec![0usize; second.len() + 1]; first.len() + 1];
    for i in (0..first.len()).rev() {
        for j in (0..second.len()).rev() {
            common[i][j] =
                if first[i] == second[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = String::new();
    let mut push = |mark: char, line: &str| out.extend([mark.to_string().as_str(), " ", line, "\n"]);
    while i < first.len() || j < second.len() {
        if i < first.len() && j < second.len() && first[i] == second[j] {
            push(' ', first[i]);
            (i, j) = (i + 1, j + 1);
        } else if j == second.len() || (i < first.len() && common[i + 1][j] >= common[i][j + 1]) {
            push('-', first[i]);
            i += 1;
        } else {
            push('+', second[j]);
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_differs_is_marked() {
        assert_eq!(super::lines("a\nb\nc", "a\nx\nc\nd"), "  a\n- b\n+ x\n  c\n+ d\n");
        assert_eq!(super::lines("", "a"), "+ a\n");
        assert_eq!(super::lines("a", "a"), "  a\n");
    }
}
