//! The summary that a person reads.

use crate::contest::{Run, figures};
use crate::scenario::{Figure, Scenario};

/// One line of a summary.
#[derive(Debug)]
pub struct Row {
    /// As many as the table has headings.
    pub cells: Vec<Cell>,
    /// Whether a target was missed.
    pub missed: bool,
}

/// One cell: words stand left in their column, numbers right.
#[derive(Debug)]
pub enum Cell {
    /// Stands left.
    Word(String),
    /// Stands right.
    Number(String),
}

impl Cell {
    /// A cell that stands left.
    #[must_use]
    pub fn word(text: &str) -> Self {
        Self::Word(text.to_owned())
    }

    /// A cell that stands right.
    #[must_use]
    pub fn number(text: impl ToString) -> Self {
        Self::Number(text.to_string())
    }

    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Number(text) => text,
        }
    }
}

/// The middle one of some values; `None` if there are none.
#[must_use]
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A table as text, with its headings.
#[must_use]
pub fn render(headings: &[&str], rows: &[Row]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.text().len());
        }
    }
    let headings: Vec<Cell> = headings.iter().map(|heading| Cell::word(heading)).collect();
    let mut text = line(&headings, &widths);
    for row in rows {
        text += &line(&row.cells, &widths);
    }
    text
}

fn line(cells: &[Cell], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, &width) in cells.iter().zip(widths) {
        text += &match cell {
            Cell::Word(word) => format!("{word:<width$}  "),
            Cell::Number(number) => format!("{number:>width$}  "),
        };
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// The headings of [`scenario_rows`].
pub const SCENARIO_HEADINGS: &[&str] =
    &["scenario", "body", "system", "figure", "raw", "measured", "ratio", "target"];

/// The rows of one scenario: for each system its throughput, and each figure that has a target.
#[must_use]
pub fn scenario_rows(scenario: &Scenario, body: usize, systems: &[&str], runs: &[Run]) -> Vec<Row> {
    let row_of = |system: &str, figure: Figure| {
        let value = median(figures(runs, system, figure))?;
        let raw = median(figures(runs, "raw", figure));
        let ratio = raw.map(|raw| value / raw);
        let judged = if figure.is_relative() { ratio } else { Some(value) };
        let target = scenario.targets(system).iter().find(|target| target.figure == figure).zip(judged);
        let missed = target.is_some_and(|(target, judged)| !target.is_met_by(judged));
        let verdict = target.map_or_else(String::new, |(target, _)| {
            let sign = if figure.grows() { ">=" } else { "<=" };
            format!("{sign} {} {}", target.bound, if missed { "MISSED" } else { "met" })
        });
        let cells = vec![
            Cell::word(scenario.name),
            Cell::number(body),
            Cell::word(system),
            Cell::word(figure.name()),
            Cell::number(raw.map_or_else(String::new, |raw| figure.show(raw))),
            Cell::number(figure.show(value)),
            Cell::number(ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))),
            Cell::word(&verdict),
        ];
        Some(Row { cells, missed })
    };
    let mut rows = Vec::new();
    for &system in systems {
        let others = scenario.targets(system).iter().map(|target| target.figure);
        let figures =
            [Figure::Throughput].into_iter().chain(others.filter(|figure| *figure != Figure::Throughput));
        rows.extend(figures.filter_map(|figure| row_of(system, figure)));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = Row { cells: vec![Cell::word("a long name"), Cell::number(1)], missed: false };
        assert_eq!(render(&["name", "count"], &[row]), "name         count\na long name      1\n");
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median(std::iter::empty()), None);
    }
}
