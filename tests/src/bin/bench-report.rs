//! Turns what the benches print into a verdict for each goal and into `docs/BENCHMARKS.md`: `bench-report DOCS`.
//!
//! It reads the benches' output from its standard input. A goal's line gets its verdict, everything else is handed
//! on. The report's figures and plots are written anew each time; what people wrote below them stays.

#![allow(clippy::print_stdout, reason = "this program hands on what it reads")]
#![allow(clippy::disallowed_methods, reason = "a report is no data")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use plotters::prelude::*;
use streamhub_tests::measure::{Measured, median, short};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Below this line the report is people's.
const NOTES: &str = "<!-- Below this line the text is written by hand; scripts/bench.sh keeps it. -->";

/// The widest bar that the plot of all goals shows.
const WIDEST: f64 = 4.0;

fn main() -> ExitCode {
    let Some(docs) = std::env::args().nth(1) else {
        println!("usage: bench-report DOCS, with the output of the benches on standard input");
        return ExitCode::from(64);
    };
    match report(Path::new(&docs)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench-report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(docs: &Path) -> Result<()> {
    let mut goals = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match Measured::parse(&line) {
            Some(goal) => {
                println!("{}", goal.line());
                goals.push(goal);
            }
            // The same in words, without a verdict.
            None if line.starts_with("goal ") => {}
            None => println!("{line}"),
        }
    }
    if goals.is_empty() {
        return Err("no bench has printed a goal".into());
    }
    goals.sort_by(|one, other| one.id.cmp(&other.id));
    let plots = docs.join("plots");
    fs::create_dir_all(&plots)?;
    plot_goals(&goals, &plots.join("goals.svg"))?;
    plot_rounds(&goals, &plots.join("rounds.svg"))?;
    let path = docs.join("BENCHMARKS.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let notes = before.split_once(NOTES).map_or("\n", |(_, notes)| notes);
    fs::write(path, format!("{}{NOTES}{notes}", figures(&goals)))?;
    Ok(())
}

fn figures(goals: &[Measured]) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    let _ = writeln!(
        text,
        "Written by `scripts/bench.sh` on {}, at commit {}: {}, {} cores, {} of memory, Linux {}.\n",
        told("date", &["-u", "+%Y-%m-%d"]),
        told("git", &["rev-parse", "--short", "HEAD"]),
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unknown processor".to_owned()),
        std::thread::available_parallelism().map_or(1, usize::from),
        field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "an unknown size".to_owned()),
        fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    );
    text.push_str(
        "Each figure is a ratio of two measurements of the same run, which take turns: ours, the baseline, ours, the\n\
         baseline. The ratio is the median of the rounds' ratios, so that what slows the machine down for a while\n\
         slows both sides down. Where a goal is a figure and no ratio, its unit stands in its place. What each bench\n\
         measures, and against what, its first lines in `tests/benches/` say.\n\n\
         | goal | what | needs | measured | ours | baseline | |\n|---|---|---|---|---|---|---|\n",
    );
    for goal in goals {
        let Measured { id, what, measure, value, bound, needs, unit, compared } = goal;
        let suffix = if measure == "ratio" { " ×".to_owned() } else { format!(" {unit}") };
        let side = |values: &[f64]| format!("{} {unit}", short(median(values)));
        let _ = writeln!(
            text,
            "| {id} | {what} | {bound} {needs:.2}{suffix} | {value:.2}{suffix} | {} | {} | {} |",
            side(&compared.ours),
            side(&compared.baseline),
            goal.verdict()
        );
    }
    text.push_str(
        "\n![How far each goal is from its bound](plots/goals.svg)\n\n![Every round of every goal](plots/rounds.svg)\n\n",
    );
    text
}

/// How many times better than its bound each goal is; goals that allow nothing at all have no such number.
fn plot_goals(goals: &[Measured], path: &Path) -> Result<()> {
    let shown: Vec<(&Measured, f64)> = goals
        .iter()
        .filter(|goal| goal.needs > 0.0)
        .map(|goal| {
            let better =
                if goal.bound == "at most" { goal.needs / goal.value } else { goal.value / goal.needs };
            (goal, better.clamp(0.0, WIDEST))
        })
        .collect();
    let height = 90 + 26 * u32::try_from(shown.len())?;
    let root = SVGBackend::new(path, (800, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let rows = i32::try_from(shown.len())?;
    let mut chart = ChartBuilder::on(&root)
        .caption("times better than the bound (beyond the line at 1 a goal is reached)", ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(40)
        .build_cartesian_2d(0.0..WIDEST, (0..rows).into_segmented())?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(shown.len())
        .y_label_formatter(&|at| match at {
            SegmentValue::CenterOf(at) => usize::try_from(*at)
                .ok()
                .and_then(|at| shown.get(at))
                .map_or(String::new(), |(goal, _)| goal.id.clone()),
            _ => String::new(),
        })
        .draw()?;
    for (at, (goal, better)) in (0..).zip(&shown) {
        let color = if goal.is_met() { RGBColor(70, 130, 90) } else { RGBColor(190, 70, 60) };
        let corners = [(0.0, SegmentValue::Exact(at)), (*better, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(corners, color.filled());
        bar.set_margin(4, 4, 0, 0);
        chart.draw_series([bar])?;
    }
    let line = [(1.0, SegmentValue::Exact(0)), (1.0, SegmentValue::Exact(rows))];
    chart.draw_series([PathElement::new(line, BLACK)])?;
    root.present()?;
    Ok(())
}

/// Both sides of every goal, round by round.
fn plot_rounds(goals: &[Measured], path: &Path) -> Result<()> {
    const ACROSS: usize = 3;
    let shown: Vec<&Measured> = goals.iter().filter(|goal| goal.compared.ours.len() > 2).collect();
    let down = shown.len().div_ceil(ACROSS).max(1);
    let root = SVGBackend::new(path, (960, 200 * u32::try_from(down)?)).into_drawing_area();
    root.fill(&WHITE)?;
    for (goal, area) in shown.iter().zip(root.split_evenly((down, ACROSS))) {
        let compared = &goal.compared;
        let highest = compared.ours.iter().chain(&compared.baseline).copied().fold(0.0, f64::max);
        let caption = format!("{}: ours (blue), baseline (grey), {}", goal.id, goal.unit);
        let mut chart = ChartBuilder::on(&area)
            .caption(caption, ("sans-serif", 13))
            .margin(8)
            .x_label_area_size(20)
            .y_label_area_size(64)
            .build_cartesian_2d(1..compared.ours.len(), 0.0..(highest * 1.1).max(1.0))?;
        chart.configure_mesh().x_labels(5).y_labels(5).light_line_style(WHITE).draw()?;
        let sides = [(&compared.baseline, RGBColor(140, 140, 140)), (&compared.ours, RGBColor(40, 90, 180))];
        for (values, color) in sides {
            chart.draw_series(LineSeries::new((1..).zip(values.iter().copied()), color.stroke_width(2)))?;
        }
    }
    root.present()?;
    Ok(())
}

fn told(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a file of the kernel says of a name.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
