//! The pages of `docs/recovery`: their commands are run as a user runs them, and print what the pages show.
//!
//! `UPDATE_PAGES=1 cargo test --test real -- pages` writes what was printed into the pages instead.

mod node;
mod stage;

use crate::shared::told;
use anyhow::{Context as _, Result};
use libtest_mimic::Trial;
use stage::Stage;
use std::fs;
use std::path::{Path, PathBuf};
use velero_trust_testing::failure;
use velero_trust_testing::page::{self, Page, Part, Values};

/// Environment variable that writes the pages instead of comparing them.
const UPDATE: &str = "UPDATE_PAGES";

/// What a page shows as the address of the store.
const STORE: &str = "https://minio.example.com:9000";

/// Returns a trial for each page, so that none is forgotten.
pub(crate) fn trials() -> Vec<Trial> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match page::all(root) {
        Ok(pages) => pages.into_iter().map(trial).collect(),
        Err(error) => vec![told("pages::are_read", move || Err(format!("{error:#}")))],
    }
}

fn trial(path: PathBuf) -> Trial {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("pages::{}", name.replace('-', "_"));
    told(&name, move || {
        run(&path).map_err(|(error, logs)| failure::tell(&error, &logs))
    })
}

fn run(path: &Path) -> Result<(), (anyhow::Error, Vec<String>)> {
    let is_update = std::env::var_os(UPDATE).is_some();
    let prepare = || {
        let page = Page::read(path)?;
        anyhow::Ok((Stage::of(&page)?, page))
    };
    let (mut stage, mut page) = prepare().map_err(|error| (error, Vec::new()))?;
    let outcome = follow(&mut stage, &mut page, is_update);
    let written = if is_update {
        fs::write(path, page.text()).context("cannot write the page")
    } else {
        Ok(())
    };
    outcome.and(written).map_err(|error| {
        let error = error.context(path.display().to_string());
        (error, stage.end())
    })
}

/// Runs all commands of the page. With `is_update`, shows what they print where that differs.
fn follow(stage: &mut Stage, page: &mut Page, is_update: bool) -> Result<()> {
    let mut values = Values::default();
    values.set(STORE, stage.store_url());
    for part in &mut page.parts {
        let Part::Command { line, output } = part else {
            continue;
        };
        let printed = stage.run(&values.of_run(line))?;
        let mut with_new = values.clone();
        match with_new.compare(output, &printed) {
            Ok(()) => values = with_new,
            Err(_) if is_update => *output = values.of_page(&printed),
            Err(error) => {
                let says = format!("$ {line}\n{printed}\n`{UPDATE}=1` writes the page");
                return Err(error.context(says));
            }
        }
    }
    Ok(())
}
