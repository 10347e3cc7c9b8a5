//! How many tests passed, read from what the runners print at their end.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// Tests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Passed.
    pub(crate) passed: u64,
    /// Failed.
    pub(crate) failed: u64,
    /// Not run.
    pub(crate) skipped: u64,
}

impl Tally {
    /// From cargo's `test result: ok. 3 passed; 0 failed; 1 ignored; …`, one line for each test binary.
    pub(crate) fn of_cargo(log: &str) -> Self {
        log.lines().filter_map(|line| line.trim().strip_prefix("test result: ")).map(Self::of_cargo_line).sum()
    }

    fn of_cargo_line(line: &str) -> Self {
        let mut tally = Self::default();
        for part in line.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(word)) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match word {
                "passed" => tally.passed += number,
                "failed" => tally.failed += number,
                "ignored" => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }

    /// From Node's runner, which ends with `# pass 3` or `ℹ pass 3`, and the like.
    pub(crate) fn of_node(log: &str) -> Self {
        let mut tally = Self::default();
        for line in log.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["#" | "ℹ", word, number] = words.as_slice() else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match *word {
                "pass" => tally.passed += number,
                "fail" | "cancelled" => tally.failed += number,
                "skipped" | "todo" => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }

    /// From Vitest, which ends with `Tests  2 failed | 3 passed (5)`.
    pub(crate) fn of_vitest(log: &str) -> Self {
        let mut tally = Self::default();
        for line in log.lines() {
            let Some(rest) = line.trim().strip_prefix("Tests ") else { continue };
            for part in rest.split(['|', '(']) {
                let mut words = part.split_whitespace();
                let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
                match words.next() {
                    Some("passed") => tally.passed += number,
                    Some("failed") => tally.failed += number,
                    Some("skipped" | "todo") => tally.skipped += number,
                    _ => {}
                }
            }
        }
        tally
    }
}

impl Add for Tally {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_binary_of_cargo_counts() {
        let log = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        assert_eq!(Tally::of_cargo(log), Tally { passed: 8, failed: 2, skipped: 1 });
    }

    #[test]
    fn node_and_vitest_count_too() {
        let tap = "# tests 4\n# pass 3\n# fail 1\n# cancelled 0\n# skipped 0\n# todo 0\n";
        assert_eq!(Tally::of_node(tap), Tally { passed: 3, failed: 1, skipped: 0 });
        assert_eq!(Tally::of_node(&tap.replace('#', "ℹ")), Tally { passed: 3, failed: 1, skipped: 0 });
        let vitest = " Test Files  1 passed (1)\n      Tests  1 failed | 11 passed | 2 skipped (14)\n";
        assert_eq!(Tally::of_vitest(vitest), Tally { passed: 11, failed: 1, skipped: 2 });
    }
}
