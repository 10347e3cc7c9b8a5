//! How much of a batch one commit takes, by what its events became.

use crate::event::{Fault, Input};
use crate::limits::{COMMIT_INPUT_BYTES, FANOUT_BYTES};
use crate::owner::Routed;

/// How many of these events fit one commit, were all of their inputs to wait: at least one. An event whose inputs pass
/// [`FANOUT_BYTES`] alone becomes a dead letter.
#[must_use]
pub fn fitting(routed: &mut [Routed]) -> usize {
    let mut bytes = 0;
    for (number, routed) in routed.iter_mut().enumerate() {
        let Routed::Inputs(inputs) = routed else { continue };
        let weight: usize = inputs.iter().map(Input::weight).sum();
        if weight > FANOUT_BYTES {
            *routed = Routed::Dead(too_wide(inputs.len(), weight));
            continue;
        }
        bytes += weight;
        if bytes > COMMIT_INPUT_BYTES && number > 0 {
            return number;
        }
    }
    routed.len()
}

fn too_wide(inputs: usize, weight: usize) -> Fault {
    let reason = format!(
        "the platform filters made {inputs} inputs of {weight} bytes of it; at most {FANOUT_BYTES} bytes are taken"
    );
    Fault { kind: "fan-out too large", reason: reason.into(), module: None, backtrace: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Company, SourceEvent};
    use bytes::Bytes;

    fn routed(inputs: usize, bytes: usize) -> Routed {
        let source = SourceEvent {
            sequence: 1,
            time_ms: 0,
            subject: "s".into(),
            headers: Bytes::new(),
            payload: Bytes::from(vec![0; bytes]),
        };
        let input = |n: usize| Input {
            source: source.clone(),
            emission: n as u32,
            company: Company::new(&format!("c{n}")).unwrap(),
            event_type: "t".into(),
            data: Bytes::new(),
        };
        Routed::Inputs((0..inputs).map(input).collect())
    }

    #[test]
    fn a_batch_is_cut_where_its_inputs_pass_the_bound() {
        let mut small: Vec<Routed> = (0..256).map(|_| routed(1, 100)).collect();
        assert_eq!(fitting(&mut small), 256);
        let mut wide: Vec<Routed> = (0..10).map(|_| routed(3, 1 << 20)).collect();
        assert_eq!(fitting(&mut wide), 2, "the third would pass 8 MiB");
        let mut first = vec![routed(20, 1 << 20), routed(1, 1)];
        assert_eq!(fitting(&mut first), 1, "one event is never cut");
        assert_eq!(fitting(&mut []), 0);
    }

    #[test]
    fn an_event_that_becomes_too_much_is_a_dead_letter() {
        let mut routed = vec![routed(1, 1), routed(200, 1 << 20), routed(1, 1)];
        assert_eq!(fitting(&mut routed), 3);
        assert!(matches!(&routed[1], Routed::Dead(fault) if fault.kind == "fan-out too large"), "{:?}", routed[1]);
    }
}
