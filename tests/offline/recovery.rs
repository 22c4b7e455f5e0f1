//! The pages of `docs/recovery`, whose commands the real tests run (`tests/real/pages`).

use std::fs;
use std::path::Path;

use velero_trust_testing::page::{self, FOLDER, Page, Part};

/// Returns the pages by their names.
fn pages() -> Vec<(String, Page)> {
    let paths = page::all(Path::new(".")).unwrap();
    assert!(!paths.is_empty(), "{FOLDER} has no page");
    let pages = paths.into_iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, Page::read(&path).unwrap())
    });
    pages.collect()
}

#[test]
fn each_page_begins_with_what_to_have_done_and_ends_with_all_backups_recorded() {
    for (name, page) in pages() {
        let headings = page.text();
        let headings: Vec<_> = headings
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(headings.first(), Some(&"## Before"), "{name}");
        let mut commands = page.parts.iter().filter_map(|part| match part {
            Part::Command { line, output } => Some((line, output)),
            Part::Text(_) => None,
        });
        let (line, output) = commands.next_back().unwrap();
        assert_eq!(line, "velero-trust status", "the last command of {name}");
        let words: Vec<_> = output.split_whitespace().collect();
        let all = words.windows(3).any(|words| {
            words[1] == "of" && words[0] == words[2] && words[0].parse::<usize>().is_ok()
        });
        assert!(all, "{name} ends with other than n of n: {output}");
    }
}

#[test]
fn readme_names_each_page() {
    let readme = fs::read_to_string("README.md").unwrap();
    for (name, _) in pages() {
        let link = format!("({FOLDER}/{name})");
        assert!(
            readme.contains(&link),
            "README.md has no link to {FOLDER}/{name}"
        );
    }
}

/// A command of another language than `console` would be run by nobody.
#[test]
fn every_command_of_a_page_is_run() {
    for (name, page) in pages() {
        for part in &page.parts {
            if let Part::Text(text) = part {
                let not_run = text.lines().find(|line| line.starts_with("$ "));
                assert_eq!(not_run, None, "{name}");
            }
        }
    }
}
