//! Which tests took longest, from what their programs print.
//!
//! libtest prints a line when a test ends, and none when it begins. But it begins them in the order of
//! their names, as many at a time as it has threads, and the next one whenever one ends: so when each
//! began follows from when the others ended.

use std::fmt;
use std::time::Duration;

/// How many are shown.
const SHOWN: usize = 10;

/// The tests of all programs, and how long each took.
#[derive(Debug)]
pub struct Slowest {
    /// How many tests run at a time.
    threads: usize,
    /// When the program that runs now began.
    began: Duration,
    /// Its tests, in the order in which they ended, and when.
    ended: Vec<(String, Duration)>,
    /// The tests of programs that are through.
    took: Vec<(Duration, String)>,
}

impl Slowest {
    /// For programs that run so many tests at a time.
    pub fn new(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            began: Duration::ZERO,
            ended: Vec::new(),
            took: Vec::new(),
        }
    }

    /// Takes a line of a test program that was printed then, since some moment that is always the same.
    pub fn add(&mut self, line: &str, at: Duration) {
        if line.starts_with("running ") {
            self.began = at;
            self.ended.clear();
        } else if line.starts_with("test result: ") {
            self.end_program();
        } else if let Some(name) = ended(line) {
            self.ended.push((name.to_owned(), at));
        }
    }

    fn end_program(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        let mut in_order: Vec<usize> = (0..ended.len()).collect();
        in_order.sort_by(|a, b| ended[*a].0.cmp(&ended[*b].0));
        for (place, index) in in_order.into_iter().enumerate() {
            let began = match place.checked_sub(self.threads) {
                Some(before) => ended[before].1,
                None => self.began,
            };
            let (name, at) = &ended[index];
            self.took.push((at.saturating_sub(began), name.clone()));
        }
    }

    /// How long all tests together took.
    pub fn sum(&self) -> Duration {
        self.took.iter().map(|(took, _)| *took).sum()
    }
}

/// A line for each of the slowest, nothing where there are no more than are shown.
impl fmt::Display for Slowest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.took.len() <= SHOWN {
            return Ok(());
        }
        let mut took: Vec<_> = self.took.iter().collect();
        took.sort_by(|a, b| b.cmp(a));
        for (took, name) in took.into_iter().take(SHOWN) {
            writeln!(f, "{:>7.1} s  {name}", took.as_secs_f64())?;
        }
        Ok(())
    }
}

/// The name in a line such as `test a::b ... ok`.
fn ended(line: &str) -> Option<&str> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let is_over = outcome.starts_with("ok") || outcome.starts_with("FAILED");
    is_over.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(lines: &[(f64, &str)], threads: usize) -> Vec<(String, f64)> {
        let mut slowest = Slowest::new(threads);
        for (at, line) in lines {
            slowest.add(line, Duration::from_secs_f64(*at));
        }
        let mut took: Vec<_> = slowest
            .took
            .into_iter()
            .map(|(took, name)| (name, took.as_secs_f64()))
            .collect();
        took.sort_by(|a, b| a.0.cmp(&b.0));
        took
    }

    /// Two at a time: `c` begins when `b` ends, and `d` when `c` does.
    #[test]
    fn a_test_begins_when_one_before_it_ends() {
        let lines = [
            (10.0, "running 4 tests"),
            (11.0, "test b ... ok"),
            (13.0, "test c ... FAILED"),
            (14.0, "what a test prints ... ok"),
            (15.0, "test a has been running for over 60 seconds"),
            (16.0, "test a ... ok"),
            (17.0, "test d ... ok"),
            (17.0, "test result: FAILED. 3 passed; 1 failed; 0 ignored"),
        ];
        let expected = [("a", 6.0), ("b", 1.0), ("c", 2.0), ("d", 4.0)];
        assert_eq!(
            seconds(&lines, 2),
            expected.map(|(name, took)| (name.to_owned(), took))
        );
    }

    #[test]
    fn each_program_begins_anew() {
        let lines = [
            (0.0, "running 1 test"),
            (1.0, "test a ... ok"),
            (1.0, "test result: ok. 1 passed"),
            (60.0, "running 1 test"),
            (62.0, "test z ... ok"),
            (62.0, "test result: ok. 1 passed"),
        ];
        let expected = [("a", 1.0), ("z", 2.0)];
        assert_eq!(
            seconds(&lines, 4),
            expected.map(|(name, took)| (name.to_owned(), took))
        );
    }

    #[test]
    fn the_ten_slowest_are_shown_where_there_are_more() {
        let mut slowest = Slowest::new(1);
        slowest.add("running 12 tests", Duration::ZERO);
        let mut at = Duration::ZERO;
        for number in 0..12 {
            at += Duration::from_millis(100 * number);
            slowest.add(&format!("test t{number:02} ... ok"), at);
        }
        slowest.add("test result: ok. 12 passed", at);
        assert_eq!(slowest.sum(), at);
        let shown = slowest.to_string();
        assert_eq!(shown.lines().count(), 10, "{shown}");
        assert_eq!(shown.lines().next(), Some("    1.1 s  t11"));
        let mut few = Slowest::new(1);
        few.add("running 1 test", Duration::ZERO);
        few.add("test t ... ok", at);
        few.add("test result: ok. 1 passed", at);
        assert_eq!(few.to_string(), "");
    }
}
