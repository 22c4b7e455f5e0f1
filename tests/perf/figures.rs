//! Rows of figures, each next to its limit.

use std::time::Duration;

/// Prints the header of a table with the load of the machine, because other processes make the
/// figures worse.
pub(super) fn head(title: &str) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("\n{title} (load {load})\n");
    println!("{:<52} {:>10} {:>10}", "", "", "target");
}

/// Prints a figure in `unit`, and whether it is within `limit`.
pub(super) fn row(name: &str, figure: f64, unit: &str, limit: Option<f64>) {
    let figure_text = format!("{figure:.2} {unit}");
    match limit {
        None => println!("{name:<52} {figure_text:>10}"),
        Some(limit) => {
            let verdict = if figure <= limit { "met" } else { "short" };
            let limit = format!("{limit} {unit}");
            println!("{name:<52} {figure_text:>10} {limit:>10}  {verdict}");
        }
    }
}

/// Prints the rows of several times, in ms: their median and their maximum.
pub(super) fn times(name: &str, times: &[Duration], limit: Option<f64>) {
    let all: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    let longest = all.iter().copied().fold(0.0, f64::max);
    let count = all.len();
    row(
        &format!("{name}, median of {count}"),
        median(all),
        "ms",
        limit,
    );
    row(&format!("{name}, longest"), longest, "ms", limit);
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
