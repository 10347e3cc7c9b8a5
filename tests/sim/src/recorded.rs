//! What a commit's record says, held against what the commit does.

use std::collections::BTreeMap;
use tidegate_core::commit::Commit;
use tidegate_core::event::Company;
use tidegate_core::record::{Became, Record};

/// Outputs, waiting inputs and dead letters of one event for one company.
type Sums = BTreeMap<(Option<Company>, u16, u64), (u64, u64, u64)>;

/// Says of each event of each company exactly what the commit holds of it.
pub(crate) fn check(commit: &Commit) -> Result<(), String> {
    let name = commit.name.number;
    let mut made = Sums::new();
    for part in &commit.parts {
        let company = || Some(part.company.clone());
        for entry in &part.outputs {
            made.entry((company(), entry.position.generation, entry.position.sequence)).or_default().0 += 1;
        }
        for waiting in &part.backlog_add {
            made.entry((company(), waiting.previous.generation, waiting.input.source.sequence)).or_default().1 += 1;
        }
    }
    for letter in &commit.dead {
        made.entry((letter.company.clone(), letter.generation, letter.source.sequence)).or_default().2 += 1;
    }
    let mut said = Sums::new();
    if let Some(bytes) = &commit.record {
        let record = Record::decode(bytes).map_err(|error| format!("commit {name}: {error}"))?;
        for (generation, sequence, lines) in record.events() {
            for line in lines {
                let sums = said.entry((line.company.clone(), generation, sequence)).or_default();
                match &line.became {
                    Became::Emitted(outputs) => sums.0 += u64::from(*outputs),
                    Became::Waits => sums.1 += 1,
                    Became::Dead { .. } => sums.2 += 1,
                    Became::Dropped { .. } | Became::PassedOver => {}
                }
            }
        }
        let checkpoint = commit.checkpoint.map(|place| (place.generation, place.sequence));
        if record.batch && checkpoint != Some(record.upto.event()) {
            return Err(format!("commit {name}: its record ends at {}, not at {checkpoint:?}", record.upto));
        }
    }
    said.retain(|_, sums| *sums != (0, 0, 0));
    if said != made {
        return Err(format!("commit {name}: its record says {said:?} of {made:?}"));
    }
    Ok(())
}
