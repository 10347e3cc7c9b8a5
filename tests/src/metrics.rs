//! Metrics as the host tells them, summed by name and label.

use anyhow::{Context, Result};

/// One reading of `/metrics`.
#[derive(Debug, Default)]
pub struct Metrics(Vec<(String, String, f64)>);

impl Metrics {
    /// Reads the text format.
    ///
    /// # Errors
    /// A line that is no sample.
    pub fn parse(text: &str) -> Result<Self> {
        let mut samples = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let value = value.parse().with_context(|| line.to_owned())?;
            samples.push((name.to_owned(), labels.trim_end_matches('}').to_owned(), value));
        }
        Ok(Self(samples))
    }

    /// The sum over all labels; `tidegate_` is put before the name.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.labelled(name, "")
    }

    /// The sum over the samples whose labels hold a text, such as `reason="trap"`.
    #[must_use]
    pub fn labelled(&self, name: &str, label: &str) -> f64 {
        let name = format!("tidegate_{name}");
        self.0
            .iter()
            .filter(|(other, labels, _)| *other == name && labels.contains(label))
            .map(|(_, _, value)| value)
            .sum()
    }

    /// Whether there is such a metric.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let name = format!("tidegate_{name}");
        self.0.iter().any(|(other, _, _)| *other == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_name_and_label() {
        let metrics = Metrics::parse(
            "# HELP x\ntidegate_a_total{reason=\"x\"} 2\ntidegate_a_total{reason=\"y\"} 3\ntidegate_b 1\n# EOF\n",
        )
        .expect("metrics");
        assert_eq!((metrics.sum("a_total"), metrics.labelled("a_total", "reason=\"y\"")), (5.0, 3.0));
        assert!(metrics.has("b") && !metrics.has("c"));
    }
}
