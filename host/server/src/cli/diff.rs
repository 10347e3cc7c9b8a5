//! Two texts line by line, and of what they have in common only what stands around a difference.

/// Common lines shown before and after a difference.
const AROUND: usize = 2;
/// Lines shown at most.
const LINES_MAX: usize = 200;
/// Comparing two texts takes the product of their lines; above this they are shown one after the other.
const WORK_MAX: usize = 4_000_000;

/// `-` only in the first, `+` only in the second, `…` for common lines that are left out.
pub(super) fn lines(first: &str, second: &str) -> Vec<String> {
    let (first, second): (Vec<&str>, Vec<&str>) = (first.lines().collect(), second.lines().collect());
    let marked = marked(&first, &second);
    let near = |index: usize| {
        let from = index.saturating_sub(AROUND);
        marked[from..marked.len().min(index + AROUND + 1)].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut out: Vec<String> = Vec::new();
    let mut left_out = false;
    for (index, (mark, line)) in marked.iter().enumerate() {
        if !near(index) {
            left_out = true;
            continue;
        }
        if out.len() >= LINES_MAX {
            out.push(format!("… {} more lines", marked.len() - index));
            return out;
        }
        if left_out {
            out.push("  …".to_owned());
            left_out = false;
        }
        out.push(format!("{mark} {line}"));
    }
    if left_out && !out.is_empty() {
        out.push("  …".to_owned());
    }
    out
}

fn marked<'a>(first: &[&'a str], second: &[&'a str]) -> Vec<(char, &'a str)> {
    let start = first.iter().zip(second).take_while(|(a, b)| a == b).count();
    let (a, b) = (&first[start..], &second[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    let mut out: Vec<(char, &str)> = first[..start].iter().map(|line| (' ', *line)).collect();
    if a.len() * b.len() > WORK_MAX {
        out.extend(a.iter().map(|line| ('-', *line)));
        out.extend(b.iter().map(|line| ('+', *line)));
    } else {
        out.extend(changed(a, b));
    }
    out.extend(first[first.len() - end..].iter().map(|line| (' ', *line)));
    out
}

fn changed<'a>(first: &[&'a str], second: &[&'a str]) -> Vec<(char, &'a str)> {
    // common[i][j]: how many lines the rests from i and j have in common, in order.
    let mut common = vec![vec![0_u32; second.len() + 1]; first.len() + 1];
    for i in (0..first.len()).rev() {
        for j in (0..second.len()).rev() {
            common[i][j] =
                if first[i] == second[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < first.len() || j < second.len() {
        if i < first.len() && j < second.len() && first[i] == second[j] {
            out.push((' ', first[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == second.len() || (i < first.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(('-', first[i]));
            i += 1;
        } else {
            out.push(('+', second[j]));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_and_what_stands_around_it_is_shown() {
        let first = "1\n2\n3\n4\n5\n6\n7";
        assert_eq!(lines(first, "1\n2\n3\n4\nx\n6\n7"), ["  …", "  3", "  4", "- 5", "+ x", "  6", "  7"]);
        assert_eq!(lines(first, "x\n2\n3\n4\n5\n6\n7"), ["- 1", "+ x", "  2", "  3", "  …"]);
        assert_eq!(lines("a\nb\nc", "a\nx\nc\nd"), ["  a", "- b", "+ x", "  c", "+ d"]);
        assert!(lines(first, first).is_empty());
        assert_eq!(lines("", "a"), ["+ a"]);
    }

    #[test]
    fn texts_that_have_nothing_in_common_are_cut() {
        let long = |word: &str| (0..3000).map(|n| format!("{word}{n}\n")).collect::<String>();
        let shown = lines(&long("a"), &long("b"));
        assert_eq!(shown.len(), LINES_MAX + 1);
        assert_eq!(shown.last().map(String::as_str), Some("… 5800 more lines"));
    }
}
