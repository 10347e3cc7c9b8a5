//! A row as a chart: a bar for each figure on a logarithmic scale whose middle is the target, or the other side.

use std::fmt::Write as _;

use crate::figure::{Better, Figure};
use crate::results::number;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 20.0;
/// The bars' middle line and how far they may reach from it.
const MIDDLE: f64 = 430.0;
const REACH: f64 = 330.0;
const ROW: f64 = 56.0;
const HEAD: f64 = 56.0;
/// A bar reaches its end at so many times the target.
const SPAN: f64 = 16.0;

/// The chart.
pub(crate) fn svg(title: &str, figures: &[Figure]) -> String {
    let height = HEAD + ROW * figures.len() as f64 + 16.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" fill=\"#1a1a1a\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"44\" fill=\"#666666\">to the right of the line is better than the target, or than the other side where there is none; thin: over the rounds</text>\n",
        escaped(title)
    );
    for (index, figure) in figures.iter().enumerate() {
        bar(&mut out, figure, HEAD + ROW * index as f64);
    }
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "<line x1=\"{MIDDLE}\" y1=\"{HEAD}\" x2=\"{MIDDLE}\" y2=\"{}\" stroke=\"#1a1a1a\"/>\n</svg>",
        height - 12.0
    );
    out
}

fn bar(out: &mut String, figure: &Figure, top: f64) {
    let [low, high] = figure.range.map(|value| place(figure, value));
    let end = place(figure, figure.value);
    let (from, to) = (end.min(MIDDLE), end.max(MIDDLE));
    let colour = if end >= MIDDLE { "#2b7a4b" } else { "#b4532a" };
    let target = figure.target.map_or_else(String::new, |target| {
        format!(", target {} {}", if figure.better == Better::Higher { "≥" } else { "≤" }, number(target))
    });
    let against = if figure.against == "–" { String::new() } else { format!(" beside {}", figure.against) };
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" fill=\"#1a1a1a\">{}{}: <tspan font-weight=\"bold\">{} {}</tspan>{}; itself {}</text>\n\
         <rect x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>\n\
         <line x1=\"{:.1}\" y1=\"{line}\" x2=\"{:.1}\" y2=\"{line}\" stroke=\"#1a1a1a\" stroke-width=\"2\"/>",
        top + 16.0,
        escaped(&figure.what),
        escaped(&against),
        number(figure.value),
        figure.value_unit,
        target,
        number(figure.control),
        top + 24.0,
        to - from,
        low.min(high),
        low.max(high),
        line = top + 31.0,
    );
}

/// Where a value lies: right is better.
fn place(figure: &Figure, value: f64) -> f64 {
    let middle = figure.target.unwrap_or(if figure.value_unit == "×" { 1.0 } else { figure.value });
    // A difference may be zero or below: as good as it can be.
    let times = (value.max(1e-9) / middle.max(1e-9)).ln() / SPAN.ln();
    let better = if figure.better == Better::Higher { times } else { -times };
    MIDDLE + REACH * better.clamp(-1.0, 1.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Samples, Sides};

    #[test]
    fn what_holds_is_right_of_the_line() {
        let [ours, theirs] = [[80.0; 3], [4.0; 3]].map(|values| Samples(values.to_vec()));
        let sides = Sides { ours: &ours, twin: &ours, theirs: &theirs };
        let good = Figure::ratio("a < b", "y", "1/s", sides).at_least(8.0);
        assert!(place(&good, good.value) > MIDDLE && place(&good.clone().at_most(8.0), good.value) < MIDDLE);
        let text = svg("A & B", &[good]);
        assert!(text.starts_with("<svg") && text.contains("a &lt; b") && text.contains("A &amp; B"));
    }
}
