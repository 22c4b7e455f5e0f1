//! `velero-trust lint` over the folders of `tests/reports`.

use std::fs;

use crate::golden::Golden;
use crate::lint::{folders, lint};

/// Environment variable that writes the output into the folders instead of comparing it.
const UPDATE: &str = "UPDATE_REPORTS";

/// Ends what is said about a case.
const END: &str = "---\n";

#[test]
fn every_report_gets_what_is_right() {
    let mut golden = Golden::new(UPDATE);
    for case in folders("tests/reports") {
        let file = case.join("want.text");
        let want = fs::read_to_string(&file).unwrap_or_default();
        let (right, _) = want.split_once(END).unwrap_or_default();
        assert!(
            !right.is_empty(),
            "{} does not say what is right",
            file.display()
        );
        let ran = lint(&case, &["in"], "");
        let said = format!(
            "{right}{END}{}--- stderr\n{}--- exit {}\n",
            ran.out, ran.err, ran.code
        );
        golden.is(file, &said);
    }
    golden.end("every_report");
}
