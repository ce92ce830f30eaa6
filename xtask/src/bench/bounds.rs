//! What is possible: how fast the runtime and the store are for a request when a component makes the fewest
//! operations that any design could make, and when it answers at once.

use anyhow::{Context, Result};
use do_nothing::recording::{APPLICATION, NEW_ID, Operation, Recording, Step};

use super::cases::Case;
use super::load::{Against, Compared, met};
use super::seed::{FULL, id};

/// What bounds a kind of request.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    request: Request,
    /// The parts of each throughput to reach on Redis under Spin.
    fewest: f64,
    at_once: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Create,
    Read,
    List,
}

/// A create.
pub const CREATE: Bounds = Bounds {
    request: Request::Create,
    fewest: 0.6,
    at_once: 0.33,
};

/// A read of the webhook with number 0.
pub const READ: Bounds = Bounds {
    request: Request::Read,
    fewest: 0.75,
    at_once: 0.5,
};

/// A list of [`FULL`] webhooks.
pub const LIST: Bounds = Bounds {
    request: Request::List,
    fewest: 0.75,
    at_once: 0.13,
};

impl Bounds {
    /// The fewest operations. What a create writes is as long as in the recording.
    ///
    /// # Errors
    ///
    /// When the service does not write it.
    pub fn steps(self, recording: &Recording) -> Result<Vec<Step>> {
        let application = format!("application/{APPLICATION}");
        let index = format!("webhooks/{APPLICATION}");
        let webhook = |id: &str| format!("webhook/{APPLICATION}/{id}");
        let read = |key: String| (key, Operation::Get);
        let write = |key: String| -> Result<_> {
            let operation = written(recording, &key)?;
            Ok((key, operation))
        };
        let (first, then) = match self.request {
            Request::Create => (
                vec![read(application), read(index.clone())],
                vec![write(webhook(NEW_ID))?, write(index)?],
            ),
            Request::Read => (vec![read(application), read(webhook(&id(0)))], Vec::new()),
            Request::List => (
                vec![read(application), read(index)],
                (0..FULL).map(|number| read(webhook(&id(number)))).collect(),
            ),
        };
        let after = [(0, first), (2, then)];
        let steps = after.into_iter().flat_map(|(after, side_by_side)| {
            side_by_side.into_iter().map(move |(key, operation)| Step {
                operation,
                key,
                after,
                pause_ms: 0,
            })
        });
        Ok(steps.collect())
    }
}

/// How the service writes a document.
fn written(recording: &Recording, key: &str) -> Result<Operation> {
    let mut steps = recording.steps.iter().chain(&recording.afterwards);
    let found =
        steps.find(|step| step.key == key && matches!(step.operation, Operation::Set { .. }));
    let found = found.with_context(|| format!("the service does not write {key}"))?;
    Ok(found.operation.clone())
}

/// What stands above the rows.
pub const HEAD: &str = "### What is possible\n\nNo design could do with less than *the fewest* operations: \
    for a create two reads side by side, then two writes side by side; for a read two reads side by side; \
    for a list two reads side by side, then the page's documents side by side. *At once* is without any. \
    The responses are the same.\n\n\
    | request | requests/s | the same operations | the fewest | at once |\n|---|---|---|---|---|\n";

/// The row of a case that has bounds, with their targets or without.
pub fn row(case: &Case, compared: &Compared, has_targets: bool) -> Option<String> {
    let bounds = case.bounds?;
    let (fewest, at_once) = compared.bounds.as_ref()?;
    let cell = |against: &Against, target: Option<f64>| {
        let target = target.filter(|_| has_targets);
        let target = target.map_or_else(String::new, |target| {
            format!(", target {target}: {}", met(against.ratio >= target))
        });
        format!(
            "{:.0}/s: **{:.2}**{target}",
            against.load.per_second, against.ratio
        )
    };
    Some(format!(
        "| {} | {:.0} | {} | {} | {} |\n",
        case.name,
        compared.service.per_second,
        cell(&compared.nothing, None),
        cell(fewest, Some(bounds.fewest)),
        cell(at_once, Some(bounds.at_once)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Load;

    fn step(operation: Operation, key: &str, after: usize) -> Step {
        Step {
            operation,
            key: key.to_owned(),
            after,
            pause_ms: 0,
        }
    }

    fn set(bytes: usize, growth: Option<i64>) -> Operation {
        Operation::Set { bytes, growth }
    }

    fn recording(steps: Vec<Step>, afterwards: Vec<Step>) -> Recording {
        Recording {
            status: 201,
            headers: Vec::new(),
            body: String::new(),
            steps,
            afterwards,
            fewest: Vec::new(),
        }
    }

    #[test]
    fn a_create_reads_twice_side_by_side_and_then_writes_as_much_as_the_service() {
        let written = recording(
            vec![
                step(Operation::Get, "application/{application}", 0),
                step(set(90, None), "changes/m", 1),
                step(set(400, None), "webhook/{application}/{new}", 2),
            ],
            vec![step(set(80, Some(39)), "webhooks/{application}", 0)],
        );
        assert_eq!(
            CREATE.steps(&written).expect("steps"),
            [
                step(Operation::Get, "application/{application}", 0),
                step(Operation::Get, "webhooks/{application}", 0),
                step(set(400, None), "webhook/{application}/{new}", 2),
                step(set(80, Some(39)), "webhooks/{application}", 2),
            ]
        );
        let other = recording(
            vec![step(Operation::Get, "webhooks/{application}", 0)],
            Vec::new(),
        );
        let refused = CREATE.steps(&other).expect_err("it writes nothing");
        assert!(refused.to_string().contains("webhook/{application}/{new}"));
    }

    #[test]
    fn a_read_is_two_reads_and_a_list_has_those_of_its_page_after_them() {
        let nothing = recording(Vec::new(), Vec::new());
        let read = READ.steps(&nothing).expect("steps");
        assert_eq!(read.len(), 2);
        assert!(
            read.iter()
                .all(|it| it.operation == Operation::Get && it.after == 0)
        );
        let list = LIST.steps(&nothing).expect("steps");
        assert_eq!(list.len(), 2 + FULL);
        let after: Vec<usize> = list.iter().map(|it| it.after).collect();
        assert_eq!((&after[..3], after.last()), (&[0, 0, 2][..], Some(&2)));
        let keys: std::collections::BTreeSet<_> = list.iter().map(|it| &it.key).collect();
        assert_eq!(keys.len(), list.len());
    }

    #[test]
    fn a_row_has_targets_only_where_they_are_of_that_runtime_and_store() {
        let load = |per_second| Load {
            requests: 1.0,
            per_second,
            median_us: 1.0,
            p99_us: 1.0,
        };
        let against = |per_second: f64| Against {
            load: load(per_second),
            ratio: 1000.0 / per_second,
        };
        let compared = Compared {
            service: load(1000.0),
            nothing: against(1250.0),
            bounds: Some((against(2000.0), against(2500.0))),
        };
        let mut case = Case {
            name: "create".to_owned(),
            method: "POST",
            path: String::new(),
            among: 1,
            token: String::new(),
            body: None,
            status: 201,
            target: None,
            forged_anew: false,
            bounds: Some(CREATE),
        };
        assert_eq!(
            row(&case, &compared, true).expect("a row"),
            "| create | 1000 | 1250/s: **0.80** | 2000/s: **0.50**, target 0.6: missed | 2500/s: \
             **0.40**, target 0.33: met |\n"
        );
        let without = row(&case, &compared, false).expect("a row");
        assert!(!without.contains("target"), "{without}");
        case.bounds = None;
        assert_eq!(row(&case, &compared, true), None);
    }
}
