//! Pictures of pages: how long one takes to draw, of a flame graph with as many boxes as are drawn and of one where nothing fits.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tephra_collector::analysis::{View, ViewOptions};
use tephra_collector::cards::{Card, Flame, NODES_MAX, Picture, WIDTH, png};
use tephra_collector::profile::alone::{Alone, coverage};
use tephra_collector::profile::formats::decode;
use tephra_collector::profile::tree::Tree;
use tephra_tests::bench::{Random, Report, percentile_ms};

const DRAWN: usize = 50;

/// Distinct stacks of a large service.
const STACKS: usize = 20_000;

pub(crate) fn measure(report: &mut Report) {
    for (what, name) in [("a large service", name as fn(u64) -> String), ("names of 100 letters", long_name)] {
        let view = view(name);
        let mut times: Vec<Duration> = Vec::new();
        let mut bytes = 0;
        for _ in 0..DRAWN {
            let flame = Flame { tree: &view.shown, q: None, basis: view.basis, is_own: &|frame| frame % 3 > 0 };
            let card = Card {
                kicker: "checkout: CPU".to_owned(),
                headline: "checkout used 1.31 cores more CPU (+32 %): 5.41 cores, 4.10 cores before.".to_owned(),
                note: "4 210 samples now and 4 100 before".to_owned(),
                picture: Picture::Flame(flame),
            };
            let began = Instant::now();
            bytes = png(&card).expect("a picture").len();
            times.push(began.elapsed());
        }
        report.at_most(&format!("card of {what}, drawn, p50"), percentile_ms(&mut times, 0.5), "ms", 50.0);
        report.note(&format!("card of {what}, drawn, p99"), percentile_ms(&mut times, 0.99), "ms");
        report.at_most(&format!("card of {what}, size"), bytes as f64, "bytes", 150_000.0);
    }
}

fn name(function: u64) -> String {
    format!("shop::m{}::f{function}", function % 17)
}

fn long_name(function: u64) -> String {
    format!("{}{function}", "shop".repeat(25))
}

/// What is drawn of stacks that share their beginnings as those of a service do.
fn view(name: impl Fn(u64) -> String) -> View {
    let mut random = Random::seeded(7);
    let mut text = String::new();
    for _ in 0..STACKS {
        let depth = 3 + random.next() % 20;
        let stack: Vec<String> = (0..depth).map(|level| name(level * 40 + random.skewed(40))).collect();
        writeln!(text, "{} {}", stack.join(";"), 1 + random.next() % 9).expect("strings take what they are given");
    }
    let imported = decode(text.as_bytes()).expect("folded stacks");
    let file = Alone::new(imported, "service").expect("a window");
    let profile_type = file.types().first().map(|first| (*first).clone()).expect("a type");
    let (merged, names) = file.merged(&profile_type);
    let options = ViewOptions { max_nodes: NODES_MAX, min_share: 1.0 / f64::from(WIDTH), ..ViewOptions::default() };
    View::of_one("service", Tree::of((&merged, &names)), coverage([&merged]), options)
}
