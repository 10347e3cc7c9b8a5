//! Chains that fail again and again before any event of theirs is judged.

use std::collections::HashMap;
use std::sync::Arc;
use tidegate_core::event::Company;

/// So many failures in a row are no moment's lack of memory or time.
const ROW: u32 = 3;
/// So many companies are told by name; one default chain may serve thousands.
const NAMED: usize = 20;

/// Failures in a row, of each company's chain and of the platform's (no company).
#[derive(Debug, Default)]
pub struct Failing(HashMap<Option<Company>, Row>);

#[derive(Debug)]
struct Row {
    chain: Arc<str>,
    failures: u32,
    reason: String,
}

impl Failing {
    /// A chain, by its digest, could not be run.
    pub fn failed(&mut self, company: Option<&Company>, chain: &Arc<str>, reason: String) {
        let before = self.0.get(&company.cloned()).filter(|row| row.chain == *chain).map_or(0, |row| row.failures);
        let row = Row { chain: Arc::clone(chain), failures: before.saturating_add(1), reason };
        self.0.insert(company.cloned(), row);
    }

    /// It ran.
    pub fn ran(&mut self, company: Option<&Company>) {
        if !self.0.is_empty() {
            self.0.remove(&company.cloned());
        }
    }

    /// Whose chain can't be run, in sentences; `chain` is the digest of whoever's chain runs now. One that was replaced
    /// has not failed yet.
    #[must_use]
    pub fn told(&self, chain: impl Fn(Option<&Company>) -> Option<Arc<str>>) -> Vec<String> {
        let still = |(company, row): &(&Option<Company>, &Row)| {
            row.failures >= ROW && chain(company.as_ref()).as_ref() == Some(&row.chain)
        };
        let mut told: Vec<String> = self.0.iter().filter(still).map(|(company, row)| sentence(company, row)).collect();
        told.sort();
        let more = told.len().saturating_sub(NAMED);
        told.truncate(NAMED);
        told.extend((more > 0).then(|| format!("and so of {more} more companies")));
        told
    }
}

fn sentence(company: &Option<Company>, row: &Row) -> String {
    let whose = match company {
        Some(company) => format!("the chain of company {company}"),
        None => "the platform chain".to_owned(),
    };
    format!("{whose} can not be run: {}", row.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_told_until_the_chain_runs() {
        let (acme, chain): (_, Arc<str>) = (Company::new("acme").unwrap(), "1".into());
        let mut failing = Failing::default();
        for _ in 0..2 {
            failing.failed(Some(&acme), &chain, "no memory".to_owned());
        }
        assert!(failing.told(|_| Some(chain.clone())).is_empty());
        failing.ran(Some(&acme));
        for _ in 0..3 {
            failing.failed(Some(&acme), &chain, "no memory".to_owned());
            failing.failed(None, &chain, "no time".to_owned());
        }
        let told =
            ["the chain of company acme can not be run: no memory", "the platform chain can not be run: no time"];
        assert_eq!(failing.told(|_| Some(chain.clone())), told);
        failing.ran(None);
        assert_eq!(failing.told(|_| Some(chain.clone())), told[..1]);
        failing.ran(Some(&acme));
        assert!(failing.told(|_| Some(chain.clone())).is_empty());
    }

    #[test]
    fn a_chain_that_was_replaced_has_not_failed_yet() {
        let (acme, old, new): (_, Arc<str>, Arc<str>) = (Company::new("acme").unwrap(), "1".into(), "2".into());
        let mut failing = Failing::default();
        for _ in 0..3 {
            failing.failed(Some(&acme), &old, "no memory".to_owned());
        }
        assert!(failing.told(|_| Some(new.clone())).is_empty() && failing.told(|_| None).is_empty());
        failing.failed(Some(&acme), &new, "no memory".to_owned());
        assert!(failing.told(|_| Some(new.clone())).is_empty(), "once");
    }

    #[test]
    fn thousands_of_companies_are_told_in_few_words() {
        let (chain, mut failing) = (Arc::from("1"), Failing::default());
        for number in 0..3 * 1_000 {
            let company = Company::new(&format!("c{}", number % 1_000)).unwrap();
            failing.failed(Some(&company), &chain, "no memory".to_owned());
        }
        let told = failing.told(|_| Some(chain.clone()));
        assert_eq!((told.len(), told.last().map(String::as_str)), (21, Some("and so of 980 more companies")));
    }
}
