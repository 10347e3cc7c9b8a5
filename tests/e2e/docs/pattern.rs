//! Whether what was printed is what a document shows.
//!
//! `…` stands for anything within a line, and alone on a line for any number of lines. Numbers of ten digits and more
//! are times: any such number is as good.

/// Whether `printed` is what is shown, from its first line on. More may follow where `open`.
pub(super) fn matches(shown: &str, printed: &str, open: bool) -> Result<(), String> {
    let shown: Vec<&str> = shown.lines().collect();
    let printed: Vec<&str> = printed.lines().collect();
    // The farthest line that was looked for in vain: what a reader of the failure wants to know.
    let mut farthest = 0;
    if stand(&shown, &printed, open, &mut farthest) {
        return Ok(());
    }
    let missing = shown.iter().rev().nth(farthest.saturating_sub(1)).copied().unwrap_or_default();
    Err(format!("not printed, or something before or after it: {missing:?}"))
}

/// `left` becomes the fewest lines that were ever left to be found.
fn stand(shown: &[&str], printed: &[&str], open: bool, left: &mut usize) -> bool {
    if *left == 0 || shown.len() < *left {
        *left = shown.len();
    }
    match shown {
        [] => open || printed.is_empty(),
        [any] if any.trim() == "…" => true,
        [any, rest @ ..] if any.trim() == "…" => (0..printed.len())
            .any(|skipped| fits(rest[0], printed[skipped]) && stand(rest, &printed[skipped..], open, left)),
        [line, rest @ ..] => {
            printed.first().is_some_and(|other| fits(line, other)) && stand(rest, &printed[1..], open, left)
        }
    }
}

fn fits(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (timeless(shown.trim_end()), timeless(printed.trim_end()));
    let mut pieces = shown.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| printed.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// With `#` for every long number.
fn timeless(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        out.push_str(if end >= 10 { "#" } else { &rest[..end] });
        rest = &rest[end..];
    }
    out + rest
}

#[test]
fn shown_lines_stand_in_order_and_times_are_any() {
    let printed = "id: a-1-1700000000000\ndata: {}\n\nend 7\n";
    for (shown, open, good) in [
        ("id: a-1-1699999999999\ndata: {}\n\nend 7\n", false, true),
        ("id: a-2-1699999999999\n", true, false),
        ("id: a-1-1699999999999\n", true, true),
        ("id: a-1-1699999999999\n", false, false),
        ("…\nend …\n", false, true),
        ("id: …-1-…\n…\n", false, true),
        ("…\ndata: {}\nend 7\n", false, false),
        ("data: {}\n", true, false),
        // The first line that fits need not be the one that is meant.
        ("…\ndata: …\n\nend 7\n", false, true),
        ("…\n…d…\n\n…\n", false, true),
    ] {
        assert_eq!(matches(shown, printed, open).is_ok(), good, "{shown:?}");
    }
}
