//! Planted changes are named, noise is not, and sentences say what the numbers say.

use crate::profile::diff::Basis;
use crate::profile::model::Merged;
use crate::profile::report::{Coverage, Mover};
use crate::profile::resolution::Resolution;
use crate::profile::testing::{Random, Sketch, simulated};

use super::families::Families;
use super::view::{View, ViewOptions};

type Profile = (Merged, Vec<Resolution>);

fn compare(a: &Profile, b: &Profile, basis: Basis) -> View {
    let named = Coverage { share: 1.0, ..Coverage::default() };
    let options = ViewOptions { basis, ..ViewOptions::default() };
    // The one before the other.
    let before = Merged { from_ms: b.0.from_ms - 1_000, until_ms: b.0.from_ms, ..a.0.clone() };
    View::pair("checkout", (&before, &a.1), (&b.0, &b.1), named, options)
}

/// Two profiles of one time, each with its labels.
fn compare_labels(a: &Profile, b: &Profile, of_a: &[(&str, &str)], of_b: &[(&str, &str)]) -> View {
    let labelled = |profile: &Profile, labels: &[(&str, &str)]| Merged {
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..profile.0.clone()
    };
    let (of_a, of_b) = (labelled(a, of_a), labelled(b, of_b));
    let named = Coverage { share: 1.0, ..Coverage::default() };
    View::pair("checkout", (&of_a, &a.1), (&of_b, &b.1), named, ViewOptions::default())
}

fn names(movers: &[Mover]) -> Vec<&str> {
    movers.iter().map(|mover| mover.name.as_str()).collect()
}

fn texts<'a>(view: &'a View, kind: &str) -> Vec<&'a str> {
    view.summary().iter().filter(|s| s.kind == kind).map(|s| s.text.as_str()).collect()
}

/// A service with background noise, and one function under test: `extra` ticks per replicate below `stack`.
fn with(seed: u64, replicates: u16, extra: &[(&str, f64)]) -> Profile {
    let mut random = Random::new(seed);
    let mut sketch = Sketch::cpu(replicates);
    for route in 0..5 {
        for (leaf, size) in [("", 6.0), (";core::iter::fold", 20.0), (";libc.so.6!memcpy", 12.0)] {
            let stack = format!("std::rt::lang_start;shop::main;tokio::runtime::poll;shop::route{route}::handle{leaf}");
            sketch.add_noisy(&mut random, &stack, size);
        }
    }
    for (stack, size) in extra {
        sketch.add_noisy(&mut random, &format!("std::rt::lang_start;shop::main;tokio::runtime::poll;{stack}"), *size);
    }
    sketch.finish()
}

/// The first mover when `stack` grows from `before` to `after` ticks per replicate.
fn first_mover(stack: &str, before: f64, after: f64) -> String {
    let mut found = vec![];
    for replicates in [4, 30] {
        let a = with(1, replicates, &[(stack, before)]);
        let b = with(2, replicates, &[(stack, after)]);
        let view = compare(&a, &b, Basis::Cores);
        let mover = view.movers().first().unwrap_or_else(|| panic!("nothing named with {replicates} replicates"));
        assert!(mover.share_of_change > 0.5 && mover.q <= 0.05, "{mover:?}");
        found.push(mover.name.clone());
    }
    assert_eq!(found[0], found[1]);
    found.remove(0)
}

#[test]
fn the_function_whose_work_grew_is_named_wherever_it_does_that_work() {
    for below in [
        "",
        ";libc.so.6!memcpy",
        ";alloc::vec::Vec<T>::push;alloc::raw_vec::finish_grow;libc.so.6!realloc",
        ";<core::slice::Iter<T> as core::iter::Iterator>::fold;shop::tax::compute::{{closure}}",
        ";serde_json::de::from_str;serde_json::read::next",
    ] {
        let stack = format!("shop::route1::handle;shop::tax::compute{below}");
        assert_eq!(first_mover(&stack, 20.0, 60.0), "shop::tax::compute", "{below}");
    }
}

#[test]
fn new_and_gone_functions_are_named_as_such() {
    let (a, b) = (with(1, 20, &[("shop::old::f", 30.0)]), with(2, 20, &[("shop::new::g", 40.0)]));
    let view = compare(&a, &b, Basis::Cores);
    let states: Vec<(&str, &str)> = view.movers().iter().map(|m| (m.name.as_str(), m.state)).collect();
    assert_eq!(states, [("shop::new::g", "new"), ("shop::old::f", "gone")]);
}

#[test]
fn what_no_single_callee_explains_is_gathered_where_it_meets() {
    let callees: Vec<String> =
        (0..200).map(|i| format!("shop::route1::handle;shop::report::build;shop::cell{i}::draw")).collect();
    let grown = |size: f64| callees.iter().map(|stack| (stack.as_str(), size)).collect::<Vec<_>>();
    let (a, b) = (with(1, 30, &grown(0.5)), with(2, 30, &grown(1.0)));
    let view = compare(&a, &b, Basis::Cores);
    assert_eq!(
        view.movers().first().map(|m| m.name.as_str()),
        Some("shop::report::build"),
        "{:?}",
        names(view.movers())
    );
}

#[test]
fn addresses_of_another_build_are_not_called_new() {
    let nameless = |seed: u64, address: u64| {
        let mut profile = with(seed, 20, &[("shop::route1::handle;lost", 30.0), ("nowhere", 30.0)]);
        for resolution in &mut profile.1 {
            let name = format!("{resolution:?}");
            let at = if name.contains("lost") { address } else { address + 1 };
            if name.contains("lost") || name.contains("nowhere") {
                *resolution = Resolution::Unresolved { module: "shop".into(), address: at };
            }
        }
        profile
    };
    let view = compare(&nameless(1, 0x1000), &nameless(2, 0x2000), Basis::Cores);
    assert!(view.movers().is_empty(), "{:?}", names(view.movers()));
}

#[test]
fn recursion_and_many_callers_count_once() {
    let stacks = [
        "shop::route1::handle;shop::walk::node",
        "shop::route1::handle;shop::walk::node;shop::walk::node",
        "shop::route2::handle;shop::walk::node;shop::walk::node;shop::walk::node",
    ];
    let (a, b) = (with(1, 20, &stacks.map(|s| (s, 10.0))), with(2, 20, &stacks.map(|s| (s, 20.0))));
    let view = compare(&a, &b, Basis::Cores);
    let mover = &view.movers()[0];
    assert_eq!(mover.name, "shop::walk::node");
    let total = |profile: &Profile| -> f64 {
        let names: Vec<bool> = profile.1.iter().map(|r| format!("{r:?}").contains("walk::node")).collect();
        let leaf = |node: u32| names[profile.0.nodes[node as usize].frame as usize];
        profile.0.rows.iter().filter(|row| leaf(row.node)).map(|row| row.value as f64 * 1e-9 / 200.0).sum()
    };
    assert!((mover.a - total(&a)).abs() < 1e-9 && (mover.b - total(&b)).abs() < 1e-9, "{mover:?}");
    assert!((mover.delta - (mover.b - mover.a)).abs() < 1e-12);
}

#[test]
fn noise_names_nobody() {
    let mut named = 0;
    for seed in 0..40 {
        for replicates in [4, 30] {
            let (a, b) = (simulated(2 * seed + 1, replicates, |_| 1.0), simulated(2 * seed + 2, replicates, |_| 1.0));
            named += usize::from(!compare(&a, &b, Basis::Cores).movers().is_empty());
        }
    }
    // 80 comparisons at a false-discovery rate of 5 %.
    assert!(named <= 4, "{named} of 80");
}

#[test]
fn more_load_on_everything_is_not_blamed_on_one_function() {
    let (a, b) = (simulated(1, 30, |_| 1.0), simulated(2, 30, |_| 1.5));
    let view = compare(&a, &b, Basis::Cores);
    assert!(view.movers().len() > 3, "{:?}", names(view.movers()));
    assert!(view.movers().iter().all(|m| m.state == "grew" && (m.b / m.a - 1.5).abs() < 0.25), "{:?}", view.movers());
    assert_eq!(
        texts(&view, "basis"),
        ["Functions keep their shares of the total: this looks like more load, not like a change of code."]
    );
    assert!(compare(&a, &b, Basis::Share).movers().is_empty(), "shares are what they were");
}

#[test]
fn the_headline_says_what_the_totals_say() {
    let side = |cores: f64| {
        let mut sketch = Sketch::cpu(20);
        for replicate in 0..20u16 {
            // A little spread, so that there is something to test against.
            let value = (cores * 1e10) as u64 + u64::from(replicate % 5) * 1_000_000;
            sketch.add("shop::main;shop::work", replicate, value, value / 10_000_000);
        }
        sketch.finish()
    };
    let view = compare(&side(4.1), &side(5.41), Basis::Cores);
    assert_eq!(texts(&view, "headline"), ["checkout used 1.31 cores more CPU (+32 %): 5.41 cores, 4.10 cores before."]);
    assert_eq!(
        texts(&view, "cause"),
        ["shop::work takes 1.31 cores more (5.41 cores, 4.10 cores before): 100 % of all increase."]
    );
    let cause = view.summary().iter().find(|s| s.kind == "cause").unwrap();
    assert_eq!(&*view.tree.frames[cause.frames[0] as usize].function, "shop::work");

    let view = compare(&side(4.1), &side(5.41), Basis::Share);
    assert_eq!(
        texts(&view, "basis"),
        ["Shares hide that the total changed by +32 %: a function can keep its share and still use more."]
    );
    let view = compare(&side(4.1), &side(4.1), Basis::Cores);
    assert_eq!(
        texts(&view, "headline"),
        ["checkout's CPU did not change beyond noise: 4.10 cores, 4.10 cores before."]
    );
    assert_eq!(texts(&view, "noise"), ["Nothing shown changed by more than chance: all 3 frames are within noise."]);
}

#[test]
fn missing_sides_are_said_and_not_computed_with() {
    let (nothing, something) = (Sketch::cpu(10).finish(), with(1, 10, &[]));
    for (a, b, words) in [
        (&nothing, &something, "There is no baseline"),
        (&something, &nothing, "There is nothing to compare with the baseline"),
        (&nothing, &nothing, "no CPU samples on either side"),
    ] {
        let view = compare(a, b, Basis::Cores);
        assert!(texts(&view, "headline")[0].contains(words), "{:?}", view.summary());
        assert!(!String::from_utf8(view.flame().to_json()).unwrap().contains("null"), "no number is missing");
        assert!(texts(&view, "cause").is_empty());
    }
}

#[test]
fn frames_on_one_side_only_are_said() {
    let a = with(1, 20, &[("shop::route1::handle;shop::v1::parse;libc.so.6!memcpy", 5.0)]);
    let b = with(2, 20, &[("shop::route1::handle;shop::v2::parse;libc.so.6!memcpy", 5.0)]);
    let view = compare(&a, &b, Basis::Cores);
    let all: String = view.summary().iter().map(|s| format!("{}\n", s.text)).collect();
    for part in ["v1::parse is gone", "v2::parse is new"] {
        assert!(all.contains(part), "no {part:?} in:\n{all}");
    }
}

#[test]
fn sides_of_one_time_are_called_by_what_tells_them_apart() {
    let a = with(1, 20, &[("<shop::acme::Tax as shop::Tax>::rate", 20.0)]);
    let b = with(2, 20, &[("<shop::acme::Tax as shop::Tax>::rate", 60.0), ("shop::umbrella::audit", 30.0)]);
    let said = |of_a: &[(&str, &str)], of_b: &[(&str, &str)]| {
        let view = compare_labels(&a, &b, of_a, of_b);
        view.summary().iter().map(|s| format!("{}\n", s.text)).collect::<String>()
    };
    let all = said(
        &[("tenant", "acme"), ("instance", "1"), ("zone", "eu")],
        &[("tenant", "umbrella"), ("instance", "2"), ("zone", "eu")],
    );
    assert!(all.starts_with("checkout used ") && all.contains(" more CPU with tenant=umbrella ("), "{all}");
    assert!(all.contains("Tax::rate takes ") && all.contains(" with tenant=acme): "), "{all}");
    assert!(all.contains("umbrella::audit is only there with tenant=umbrella and takes "), "{all}");
    assert!(!all.contains("before") && !all.contains("is new") && !all.contains("shop::Tax>"), "{all}");
    let all = said(&[("version", "1")], &[("version", "1")]);
    assert!(all.contains(" on side A.") && all.contains("only there on side B"), "{all}");
}

#[test]
fn what_chance_explains_is_not_called_new() {
    let a = with(1, 4, &[]);
    let b = with(2, 4, &[("shop::route1::handle;shop::rare::f", 3.0)]);
    let view = compare(&a, &b, Basis::Cores);
    let new = texts(&view, "new");
    let is_noise = view.annotations.diff.as_ref().is_some_and(|diff| {
        let node =
            view.shown.nodes.iter().position(|n| &*view.shown.frames[n.frame as usize].function == "shop::rare::f");
        node.is_none_or(|node| diff.q[node] > 500)
    });
    assert!(is_noise || !new.is_empty() || !texts(&view, "cause").is_empty(), "{:?}", view.summary());
    assert!(!is_noise || new.is_empty(), "{new:?}");
}

#[test]
fn few_samples_and_missing_symbols_are_admitted() {
    let (a, b) = (with(1, 1, &[]), with(2, 1, &[]));
    let missing = crate::profile::report::MissingSymbols {
        build_id: "ab".into(),
        module: "shop".into(),
        share: 0.6,
        hint: "shop (build ab) has sent no symbols.".into(),
    };
    let symbols = Coverage { share: 0.4, missing: vec![missing], no_lines: vec![] };
    let view = View::pair("checkout", (&a.0, &a.1), (&b.0, &b.1), symbols, ViewOptions::default());
    let quality = texts(&view, "quality");
    assert!(quality[0].contains(&format!("has {} samples", a.0.samples().min(b.0.samples()))), "{quality:?}");
    assert_eq!(quality[1], "40 % of what is shown has names; shop (build ab) has sent no symbols.");
}

#[test]
fn families_own_samples_leaf_first() {
    let mut sketch = Sketch::cpu(1);
    sketch.add("shop::main;serde_json::de::from_str;libc.so.6!malloc", 0, 10, 1);
    sketch.add("shop::main;serde_json::de::from_str;shop::visit", 0, 5, 1);
    sketch.add("shop::main", 0, 3, 1);
    sketch.add("tokio::runtime::task::poll;hyper::proto::h1::poll;shop::tax;shop::rate_for", 0, 7, 1);
    sketch.add("tokio::runtime::task::poll", 0, 2, 1);
    let (merged, resolutions) = sketch.finish();
    let view = View::single("checkout", (&merged, &resolutions), Coverage::default(), ViewOptions::default());
    let families = Families::reviewed();
    let names = families.names();
    let shares = families.shares(&view.tree, &view.annotations.family_of_frame, 0);
    let of = |name: &str| shares[names.iter().position(|n| n == name).unwrap()];
    assert_eq!((of("allocation"), of("serialization"), of("unknown")), (10, 5, 3 + 7));
    assert_eq!((of("runtime"), of("network")), (2, 0), "what a runtime calls is not its cost");
}
