//! `tephra repair`: a catalog built from the segments alone.

use std::io::Write;
use std::process::ExitCode;

use super::fail;
use super::store::StoreArgs;
use crate::store::repair::{Report, repair};

/// What `tephra repair` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    store: StoreArgs,
}

/// Builds it, and says what was found.
pub(super) fn run(args: Args) -> ExitCode {
    let place = match args.store.place() {
        Ok(place) => place,
        Err(error) => return fail(2, &error),
    };
    // Nothing to repair is a wrong folder: none is made.
    #[expect(clippy::disallowed_methods, reason = "the folder is named on the command line")]
    let is_there = place.data().exists();
    if !is_there && !place.is_shared() {
        return fail(
            2,
            &format!("{} is not there: choose the folder of the store with --data", place.data().display()),
        );
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start threads: {error}")),
    };
    match runtime.block_on(repair(&place)) {
        Ok(report) => {
            let _ = write!(std::io::stdout(), "{}", text(&report));
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}

/// What a person wants to know of it.
fn text(report: &Report) -> String {
    let Report { store, arrived, compacted, windows, services, agents, deletions, replaced, aside, kept, unknown } =
        report;
    let mut text = format!(
        "built the catalog of store {store}: {windows} windows of {services} services count, in {} segments ({arrived} as they arrived, \
         {compacted} compacted)\n",
        arrived + compacted
    );
    text.push_str(&format!(
        "windows of {agents} agents are recognised when they are sent again; {deletions} deletions were heeded\n"
    ));
    if *replaced > 0 {
        text.push_str(&format!("{replaced} segments are not listed: others hold the same\n"));
    }
    if *aside > 0 {
        text.push_str(&format!(
            "{aside} objects that are not listed were set aside, as *.orphan-*: nothing was deleted\n"
        ));
    }
    if let Some(kept) = kept {
        text.push_str(&format!("the catalog that was there is {} now\n", kept.display()));
    }
    text.push_str("not known:\n");
    unknown.iter().for_each(|sentence| text.push_str(&format!("  {sentence}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_counts_and_what_is_not_known() {
        let report = Report {
            store: "ab12".to_owned(),
            arrived: 2,
            compacted: 3,
            windows: 70,
            services: 1,
            agents: 4,
            aside: 5,
            kept: Some("/data/catalog.sqlite.before-repair-7".into()),
            unknown: vec!["events and pins".to_owned()],
            ..Report::default()
        };
        let text = text(&report);
        for part in ["70 windows of 1 services", "5 segments", "5 objects", "before-repair-7", "  events and pins\n"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains("others hold the same"), "{text}");
    }
}
