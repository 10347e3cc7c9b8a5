//! One measured figure: what was put beside what, how far apart they are, and how far the same thing is from itself.

use serde::{Deserialize, Serialize};

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// What one side was measured at, once for each round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match (sorted.len() % 2, sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
            (1, Some(value), _) => *value,
            (_, Some(above), Some(below)) => f64::midpoint(*above, *below),
            _ => 0.0,
        }
    }
}

/// A figure of one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Figure {
    /// For people, and by which `--check` finds it again.
    pub(crate) what: String,
    /// What it is put beside.
    pub(crate) against: String,
    /// What both sides are measured in.
    pub(crate) unit: String,
    /// Median of the host.
    pub(crate) ours: f64,
    /// Median of the other side.
    pub(crate) theirs: f64,
    /// The figure: their ratio or their difference.
    pub(crate) value: f64,
    /// What the figure is in: `×` for a ratio.
    pub(crate) value_unit: String,
    /// The least and the most over the rounds.
    pub(crate) range: [f64; 2],
    /// The same figure between two of the same build.
    pub(crate) control: f64,
    /// The least and the most of it over the rounds.
    pub(crate) control_range: [f64; 2],
    /// Which way is good.
    pub(crate) better: Better,
    /// Where it should be.
    pub(crate) target: Option<f64>,
}

/// Both sides and the control, measured in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides<'a> {
    /// The host.
    pub(crate) ours: &'a Samples,
    /// The same build again.
    pub(crate) twin: &'a Samples,
    /// What it is put beside.
    pub(crate) theirs: &'a Samples,
}

impl Figure {
    /// Ours by theirs.
    pub(crate) fn ratio(what: &str, against: &str, unit: &str, sides: Sides<'_>) -> Self {
        let control = Self::control("×", sides, |ours, twin| ours / twin.max(f64::MIN_POSITIVE));
        Self { what: what.to_owned(), against: against.to_owned(), unit: unit.to_owned(), ..control }
    }

    /// Ours less theirs, in the unit of both.
    pub(crate) fn difference(what: &str, against: &str, unit: &str, sides: Sides<'_>) -> Self {
        let control = Self::control(unit, sides, |ours, twin| ours - twin);
        Self { what: what.to_owned(), against: against.to_owned(), unit: unit.to_owned(), ..control }
    }

    /// Ours alone; the control is what the same build differs by, as a ratio.
    pub(crate) fn alone(what: &str, unit: &str, ours: &Samples, twin: &Samples) -> Self {
        let figure =
            Self::control("×", Sides { ours, twin, theirs: twin }, |ours, twin| ours / twin.max(f64::MIN_POSITIVE));
        let [low, high] = range(ours.0.iter().copied());
        Self {
            what: what.to_owned(),
            against: "–".to_owned(),
            unit: unit.to_owned(),
            value: ours.median(),
            value_unit: unit.to_owned(),
            range: [low, high],
            ..figure
        }
    }

    fn control(value_unit: &str, sides: Sides<'_>, compare: impl Fn(f64, f64) -> f64) -> Self {
        let each =
            |other: &Samples| range(sides.ours.0.iter().zip(&other.0).map(|(ours, other)| compare(*ours, *other)));
        let (ours, theirs) = (sides.ours.median(), sides.theirs.median());
        Self {
            what: String::new(),
            against: String::new(),
            unit: String::new(),
            ours,
            theirs,
            value: compare(ours, theirs),
            value_unit: value_unit.to_owned(),
            range: each(sides.theirs),
            control: compare(ours, sides.twin.median()),
            control_range: each(sides.twin),
            better: Better::Higher,
            target: None,
        }
    }

    /// It should be at least this.
    pub(crate) fn at_least(mut self, target: f64) -> Self {
        (self.better, self.target) = (Better::Higher, Some(target));
        self
    }

    /// It should be at most this.
    pub(crate) fn at_most(mut self, target: f64) -> Self {
        (self.better, self.target) = (Better::Lower, Some(target));
        self
    }

    /// Less is better, without a target.
    pub(crate) fn lower(mut self) -> Self {
        self.better = Better::Lower;
        self
    }

    /// Whether it is where it should be; none without a target.
    pub(crate) fn holds(&self) -> Option<bool> {
        self.target.map(|target| match self.better {
            Better::Higher => self.value >= target,
            Better::Lower => self.value <= target,
        })
    }

    /// How far apart two of the same build were in the worst round: 0.05 is 5 %, or in the figure's unit where it is no ratio.
    pub(crate) fn noise(&self) -> f64 {
        let middle = if self.control_is_ratio() { 1.0 } else { 0.0 };
        self.control_range.iter().chain([&self.control]).map(|value| (value - middle).abs()).fold(0.0, f64::max)
    }

    /// Whether the control is a ratio and no difference.
    pub(crate) fn control_is_ratio(&self) -> bool {
        self.value_unit == "×" || self.against == "–"
    }
}

fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] =
        values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
    if low > high { [0.0, 0.0] } else { [low, high] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_medians_and_its_noise_that_of_the_twin() {
        let [ours, twin, theirs] =
            [[20.0, 22.0, 24.0], [20.0, 20.0, 24.0], [2.0, 2.0, 3.0]].map(|values| Samples(values.to_vec()));
        let figure = Figure::ratio("x", "y", "1/s", Sides { ours: &ours, twin: &twin, theirs: &theirs }).at_least(8.0);
        assert_eq!((figure.value, figure.range, figure.control), (11.0, [8.0, 11.0], 1.1));
        assert!((figure.noise() - 0.1).abs() < 1e-9 && figure.holds() == Some(true));
        assert_eq!(Samples(vec![1.0, 3.0]).median(), 2.0);
    }
}
