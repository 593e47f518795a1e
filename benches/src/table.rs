//! The summary that a person reads.

use crate::contest::{Run, median};
use crate::scenario::{Figure, Scenario};

/// One line of the summary.
#[derive(Debug)]
pub struct Row {
    cells: [String; 8],
    /// Whether a target was missed.
    pub missed: bool,
}

const HEADINGS: [&str; 8] = ["scenario", "body", "system", "figure", "raw", "measured", "ratio", "target"];

/// The rows of one scenario: each figure that has a target, with throughput in any case.
#[must_use]
pub fn rows(scenario: &Scenario, body: usize, systems: &[&str], runs: &[Run]) -> Vec<Row> {
    let mut rows = Vec::new();
    for &system in systems {
        let targets = scenario.targets(system);
        let mut figures: Vec<Figure> = targets.iter().map(|target| target.figure).collect();
        if !figures.contains(&Figure::Throughput) {
            figures.insert(0, Figure::Throughput);
        }
        for figure in figures {
            let Some(value) = median(runs, system, figure) else { continue };
            let raw = median(runs, "raw", figure);
            let ratio = raw.map(|raw| value / raw);
            let target = targets.iter().find(|target| target.figure == figure);
            let judged = if figure.is_relative() { ratio } else { Some(value) };
            let met = target.zip(judged).map(|(target, judged)| target.is_met_by(judged));
            let verdict = match (target, met) {
                (Some(target), Some(met)) => {
                    let sign = if figure.grows() { ">=" } else { "<=" };
                    format!("{sign} {} {}", target.bound, if met { "met" } else { "MISSED" })
                }
                _ => String::new(),
            };
            rows.push(Row {
                cells: [
                    scenario.name.to_owned(),
                    body.to_string(),
                    system.to_owned(),
                    figure.name().to_owned(),
                    raw.map_or_else(String::new, |raw| number(figure, raw)),
                    number(figure, value),
                    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                    verdict,
                ],
                missed: met == Some(false),
            });
        }
    }
    rows
}

/// The whole table as text, with its headings.
#[must_use]
pub fn render(rows: &[Row]) -> String {
    let mut widths = HEADINGS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.len());
        }
    }
    let mut text = line(&HEADINGS.map(str::to_owned), &widths);
    for row in rows {
        text += &line(&row.cells, &widths);
    }
    text
}

fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let mut text = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        // Words stand left, numbers right.
        let is_number = matches!(column, 1 | 4 | 5 | 6);
        text += &if is_number { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn number(figure: Figure, value: f64) -> String {
    match figure {
        Figure::Throughput => format!("{value:.0}"),
        Figure::Fairness => format!("{value:.2}"),
        Figure::P99 | Figure::LongestWait => format!("{value:.3}"),
    }
}
