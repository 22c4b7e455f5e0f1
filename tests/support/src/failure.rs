//! The report on a failed trial: the causes first, then the last lines of its servers.

use crate::process;
use anyhow::Error;
use std::iter;

/// Maximum number of lines of one log, or of another long text, in a message.
const LINES: usize = 40;

/// Forgets the servers that ended earlier on this thread. To be called when a trial begins.
pub fn begin() {
    drop(process::take_ended());
}

/// Returns every cause in one line, and below it the ends of all texts of several lines among them,
/// mostly logs: of the `running` servers and of those that ended on this thread since [`begin`].
pub fn tell(error: &Error, running: &[String]) -> String {
    let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    let is_long = |text: &str| text.trim_end().contains('\n');
    let short = causes.iter().filter(|cause| !is_long(cause));
    let short: Vec<_> = short.map(|cause| cause.trim_end()).collect();
    let long = causes.iter().filter(|cause| is_long(cause)).cloned();
    let logs = running.iter().cloned().chain(process::take_ended());
    let below = long.chain(logs).map(|text| end(&text));
    let parts: Vec<_> = iter::once(short.join(": ")).chain(below).collect();
    parts.join("\n\n")
}

/// Returns the first line of a long text, which says what it is, and the last ones.
fn end(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    match lines.as_slice() {
        [first, rest @ ..] if rest.len() > LINES => {
            let (left_out, last) = rest.split_at(rest.len() - LINES);
            let count = left_out.len();
            format!("{first}\n({count} lines are left out)\n{}", last.join("\n"))
        }
        all => all.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn the_causes_come_first_and_the_end_of_a_log_below() {
        let log: Vec<_> = (0..1000).map(|line| format!("line {line}")).collect();
        let error = anyhow!("it is day")
            .context(log.join("\n"))
            .context("for the moon");
        let told = tell(&error, &["the log of etcd ends with:\nbye\n".to_owned()]);
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines[..2], ["for the moon: it is day", ""]);
        assert_eq!(lines[2..4], ["line 0", "(959 lines are left out)"]);
        assert_eq!(lines[4..6], ["line 960", "line 961"]);
        assert!(
            told.ends_with("line 999\n\nthe log of etcd ends with:\nbye"),
            "{told}"
        );
    }
}
