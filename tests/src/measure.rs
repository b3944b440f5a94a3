//! Comparing two ways of doing one thing on a machine whose speed changes: by turns, and by medians.
//!
//! A goal is printed as one line for people and one of JSON, from which `bench-report` makes the report.

#![allow(clippy::print_stdout, reason = "benches print what they measured")]

use std::time::Instant;

use serde_json::{Value, json};

/// What two ways took, round by round.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Of what is measured.
    pub ours: Vec<f64>,
    /// Of what it is measured against.
    pub baseline: Vec<f64>,
}

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Needs {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// One line of the table of goals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Its number and a letter.
    pub id: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// What the ratio, or the figure itself, has to be.
    pub needs: Needs,
    /// What both sides are measured in.
    pub unit: &'static str,
}

/// Measures by turns, so that both sides meet the same machine. A first round does not count.
pub fn by_turns(rounds: usize, mut ours: impl FnMut() -> f64, mut baseline: impl FnMut() -> f64) -> Compared {
    let mut compared = Compared { ours: Vec::new(), baseline: Vec::new() };
    for round in 0..=rounds {
        let (one, other) = (ours(), baseline());
        if round > 0 {
            compared.ours.push(one);
            compared.baseline.push(other);
        }
    }
    compared
}

/// Nanoseconds of one of so many calls.
pub fn ns_per_call(calls: u32, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this part of all values lies.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a position in a list that is far shorter than what a float can count"
)]
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() as f64 * part) as usize).min(sorted.len() - 1)]
}

impl Compared {
    /// The median of the rounds' ratios: what slows one round down slows both its sides down.
    pub fn ratio(&self) -> f64 {
        let ratios: Vec<f64> =
            self.ours.iter().zip(&self.baseline).map(|(ours, baseline)| ours / baseline).collect();
        median(&ratios)
    }
}

impl Goal {
    /// Prints how the two sides compare.
    pub fn print_ratio(&self, compared: &Compared) {
        self.print("ratio", compared.ratio(), compared);
    }

    /// Prints the figure itself, beside that of the other side.
    pub fn print_figure(&self, compared: &Compared) {
        self.print(self.unit, median(&compared.ours), compared);
    }

    fn print(&self, measure: &str, value: f64, compared: &Compared) {
        let (bound, needs) = match self.needs {
            Needs::AtMost(most) => ("at most", most),
            Needs::AtLeast(least) => ("at least", least),
        };
        let Self { id, what, unit, .. } = self;
        println!("goal {id}: {}", line(measure, value, bound, needs, unit, compared));
        println!(
            "{}",
            json!({
                "goal": id, "what": what, "measure": measure, "value": value, "bound": bound, "needs": needs,
                "unit": unit, "ours": compared.ours, "baseline": compared.baseline,
            })
        );
    }
}

fn line(measure: &str, value: f64, bound: &str, needs: f64, unit: &str, compared: &Compared) -> String {
    let (ours, baseline) = (short(median(&compared.ours)), short(median(&compared.baseline)));
    format!("{measure} {value:.2} (needs {bound} {needs:.2}), ours {ours} {unit}, baseline {baseline} {unit}")
}

/// A measured goal as `bench-report` reads it back.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Its number and a letter.
    pub id: String,
    /// What is measured.
    pub what: String,
    /// Ratio, or the unit of the figure itself.
    pub measure: String,
    /// The ratio or the figure.
    pub value: f64,
    /// `at most` or `at least`.
    pub bound: String,
    /// What it has to be.
    pub needs: f64,
    /// What both sides are measured in.
    pub unit: String,
    /// What each round found.
    pub compared: Compared,
}

impl Measured {
    /// From a line of JSON; none where the line is something else.
    pub fn parse(line: &str) -> Option<Self> {
        let found: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| found[name].as_str().map(str::to_owned);
        let numbers =
            |name: &str| -> Option<Vec<f64>> { found[name].as_array()?.iter().map(Value::as_f64).collect() };
        Some(Self {
            id: text("goal")?,
            what: text("what")?,
            measure: text("measure")?,
            value: found["value"].as_f64()?,
            bound: text("bound")?,
            needs: found["needs"].as_f64()?,
            unit: text("unit")?,
            compared: Compared { ours: numbers("ours")?, baseline: numbers("baseline")? },
        })
    }

    /// Whether the goal is reached.
    pub fn is_met(&self) -> bool {
        if self.bound == "at most" { self.value <= self.needs } else { self.value >= self.needs }
    }

    /// One word for that.
    pub fn verdict(&self) -> &'static str {
        if self.is_met() { "MET" } else { "MISSED" }
    }

    /// The line for people, which ends in whether the goal is reached.
    pub fn line(&self) -> String {
        let Self { id, measure, value, bound, needs, unit, compared, .. } = self;
        format!("goal {id}: {}, {}", line(measure, *value, bound, *needs, unit, compared), self.verdict())
    }
}

/// A number with as many digits as people read.
pub fn short(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns_and_the_first_round_does_not_count() {
        let order = std::cell::RefCell::new(Vec::new());
        let turn = |side: f64| {
            order.borrow_mut().push(side);
            side
        };
        let compared = by_turns(2, || turn(3.0), || turn(2.0));
        assert_eq!(*order.borrow(), [3.0, 2.0, 3.0, 2.0, 3.0, 2.0]);
        assert_eq!(compared, Compared { ours: vec![3.0; 2], baseline: vec![2.0; 2] });
        assert!((compared.ratio() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        let found = [quantile(&values, 0.0), median(&values), quantile(&values, 0.99)];
        assert_eq!(format!("{found:?}"), "[0.0, 50.0, 99.0]");
        assert_eq!(quantile(&[7.0], 1.0).to_string(), "7");
    }

    #[test]
    fn a_goal_is_read_back_and_judged() {
        let line = |bound: &str, value: f64| {
            json!({"goal": "4a", "what": "w", "measure": "ratio", "value": value, "bound": bound, "needs": 8.0,
                "unit": "writes/s", "ours": [80.0], "baseline": [10.0]})
            .to_string()
        };
        let met = Measured::parse(&line("at least", 8.0)).unwrap();
        assert_eq!(
            met.line(),
            "goal 4a: ratio 8.00 (needs at least 8.00), ours 80.0 writes/s, baseline 10.0 writes/s, MET"
        );
        assert!(Measured::parse(&line("at least", 7.9)).unwrap().line().ends_with(" MISSED"));
        assert!(Measured::parse(&line("at most", 7.9)).unwrap().is_met());
        assert!(!Measured::parse(&line("at most", 8.1)).unwrap().is_met());
        for other in ["", "goal 4a: ratio 8.00", "{}", "[1]"] {
            assert_eq!(Measured::parse(other), None, "{other}");
        }
    }
}
