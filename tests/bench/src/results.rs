//! What was recorded: `tests/bench/results.json` for `--check`, sections of `tests/bench/RESULTS.md` for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tidegate_tests::load::report;
use tidegate_tests::tools::root;

use crate::figure::{Better, Figure};
use crate::rows::Row;
use crate::{chart, machine};

/// A figure may be so much worse, whatever the noise: machines differ.
const LEEWAY: f64 = 0.15;

/// Figures by row.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Results(BTreeMap<u32, Vec<Figure>>);

impl Results {
    /// Reads what was recorded, if anything was.
    ///
    /// # Errors
    /// The file can't be read.
    pub(crate) fn read() -> Result<Self> {
        match fs::read(path()) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| path().display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path().display().to_string()),
        }
    }

    /// Figures that are clearly worse than they were, in words.
    pub(crate) fn worse(&self, row: u32, figures: &[Figure]) -> Vec<String> {
        let recorded = self.0.get(&row).map_or(&[][..], Vec::as_slice);
        let before = |now: &Figure| recorded.iter().find(|old| old.what == now.what && old.against == now.against);
        figures.iter().filter_map(|now| worse(row, before(now)?, now)).collect()
    }

    /// Writes a row into the files, with its chart.
    ///
    /// # Errors
    /// One can't be written.
    pub(crate) fn record(row: Row, figures: Vec<Figure>) -> Result<()> {
        let chart = format!("charts/row-{:02}.svg", row.number);
        let file = root().join("tests/bench").join(&chart);
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(&file, chart::svg(row.title, &figures)).with_context(|| file.display().to_string())?;
        let text = format!(
            "### {}. {}\n\n{}\n![{}]({chart})\n\n`cargo xtask bench {}`. {}. {}.\n",
            row.number,
            row.title,
            table(&figures),
            row.title,
            row.number,
            machine::versions(),
            machine::words()
        );
        report::record(&format!("row {}", row.number), &text)?;
        let mut all = Self::read()?;
        all.0.insert(row.number, figures);
        fs::write(path(), serde_json::to_string_pretty(&all)? + "\n").with_context(|| path().display().to_string())
    }
}

fn path() -> PathBuf {
    root().join("tests/bench/results.json")
}

/// Figures as Markdown.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = "| what | Tidegate | beside | figure | over the rounds | against itself | target |\n|---|---|---|---|---|---|---|\n".to_owned();
    for figure in figures {
        let target = match (figure.target, figure.better, figure.holds()) {
            (Some(target), Better::Higher, holds) => format!("≥ {}{}", number(target), missed(holds)),
            (Some(target), Better::Lower, holds) => format!("≤ {}{}", number(target), missed(holds)),
            (None, ..) => "–".to_owned(),
        };
        let theirs = match figure.against.as_str() {
            "–" => "–".to_owned(),
            against => format!("{} {} ({against})", number(figure.theirs), figure.unit),
        };
        let control = if figure.control_is_ratio() { "×" } else { &figure.value_unit };
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "| {} | {} {} | {theirs} | **{} {}** | {} to {} | {} {control} ({} to {}) | {target} |",
            figure.what,
            number(figure.ours),
            figure.unit,
            number(figure.value),
            figure.value_unit,
            number(figure.range[0]),
            number(figure.range[1]),
            number(figure.control),
            number(figure.control_range[0]),
            number(figure.control_range[1]),
        );
    }
    text
}

fn missed(holds: Option<bool>) -> &'static str {
    if holds == Some(false) { ", missed" } else { "" }
}

/// Three digits that say something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
            format!("{sign}{}", groups.join(","))
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// What is said of a figure that is worse by more than both noises and the leeway, in each of its rounds than in any before: the
/// other side has its moods, too, which no twin shows.
fn worse(row: u32, before: &Figure, now: &Figure) -> Option<String> {
    let noise = before.noise().max(now.noise());
    let bad = if now.value_unit == "×" || now.against == "–" {
        let allowed = 1.0 + LEEWAY + noise;
        match now.better {
            Better::Higher => now.value * allowed < before.value,
            Better::Lower => now.value > before.value * allowed,
        }
    } else {
        let allowed = before.value.abs() * LEEWAY + noise;
        match now.better {
            Better::Higher => now.value + allowed < before.value,
            Better::Lower => now.value > before.value + allowed,
        }
    };
    let apart = match now.better {
        Better::Higher => now.range[1] < before.range[0],
        Better::Lower => now.range[0] > before.range[1],
    };
    (bad && apart).then(|| {
        format!(
            "row {row}, {}: {} {}, was {} {}, noise {}",
            now.what,
            number(now.value),
            now.value_unit,
            number(before.value),
            before.value_unit,
            number(noise)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Samples, Sides};

    fn figure(ours: f64, twin: f64) -> Figure {
        let [ours, twin, theirs] = [ours, twin, 10.0].map(|value| Samples(vec![value]));
        Figure::ratio("x", "y", "1/s", Sides { ours: &ours, twin: &twin, theirs: &theirs }).at_least(1.0)
    }

    #[test]
    fn only_what_is_beyond_the_noise_is_worse() {
        let recorded = Results(BTreeMap::from([(4, vec![figure(100.0, 100.0)])]));
        assert!(recorded.worse(4, &[figure(90.0, 90.0)]).is_empty());
        assert_eq!(recorded.worse(4, &[figure(80.0, 80.0)]).len(), 1);
        assert!(recorded.worse(4, &[figure(80.0, 100.0)]).is_empty(), "a run whose control is off says nothing");
        assert!(recorded.worse(5, &[figure(1.0, 1.0)]).is_empty());
        let moody = Figure { range: [6.0, 10.0], ..figure(70.0, 70.0) };
        assert!(recorded.worse(4, &[moody]).is_empty(), "one of its rounds was as good");
    }

    #[test]
    fn numbers_are_short() {
        let told = [1_234_567.0, 123.4, 12.34, 1.234, 0.0123, -1234.0].map(number);
        assert_eq!(told, ["1,234,567", "123", "12.3", "1.23", "0.012", "-1,234"]);
    }
}
