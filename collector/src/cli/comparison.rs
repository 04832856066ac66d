//! What `tephra diff` and `tephra gate` compare: two selections that a collector answers for, or two files. Either way the same engine answers, in
//! the same words.
#![expect(clippy::disallowed_methods, reason = "the files are named on the command line")]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::client::{Server, query, selection};
use crate::analysis::{Filters, View, ViewOptions};
use crate::profile::alone::{Alone, coverage};
use crate::profile::diff::Basis;
use crate::profile::formats::decode;
use crate::profile::model::{Kind, ProfileType};
use crate::profile::pprof::PPROF_BYTES_MAX;
use crate::profile::tree::Tree;
use crate::urls::encode;

/// What to compare, as the command line says it.
#[derive(Debug, clap::Args)]
pub(super) struct ComparisonArgs {
    #[command(flatten)]
    server: Server,
    /// Two profiles, the baseline first: pprof, folded stacks, an output of perf script, speedscope, V8, Firefox or samply, gperftools. No
    /// collector is asked
    #[arg(value_name = "FILE", num_args = 2, conflicts_with_all = ["baseline", "candidate"])]
    files: Vec<PathBuf>,
    /// What to compare with, such as service=checkout,version=v1,from=now-1h
    #[arg(long, value_name = "SELECTION", required_unless_present = "files", requires = "candidate")]
    baseline: Option<String>,
    /// What to judge, such as service=checkout,version=v2,from=now-1h
    #[arg(long, value_name = "SELECTION", required_unless_present = "files", requires = "baseline")]
    candidate: Option<String>,
    /// cores, share, instance or total; cores if left out, and total for files that do not say how long they took
    #[arg(long, value_parser = ["cores", "share", "instance", "total"])]
    basis: Option<String>,
    /// Of files with several types, which one, such as alloc_space; cpu if left out, or the first that both have
    #[arg(long = "type", value_name = "TYPE", requires = "files")]
    profile_type: Option<String>,
}

/// The part of a comparison that is judged and shown.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Answer {
    #[serde(rename = "type")]
    pub(super) profile_type: Option<TypeName>,
    #[serde(default)]
    pub(super) service: String,
    pub(super) a: Side,
    pub(super) b: Side,
    #[serde(default)]
    pub(super) movers: Vec<Mover>,
    #[serde(default)]
    pub(super) summary: Vec<Sentence>,
    #[serde(skip_serializing)]
    nodes: Nodes,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct TypeName {
    pub(super) name: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Side {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) samples: u64,
    pub(super) value: f64,
    pub(super) unit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partial: Option<Partial>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Partial {
    pub(super) covered_from: u64,
    #[serde(default)]
    pub(super) damaged: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Mover {
    pub(super) name: String,
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) delta: f64,
    pub(super) q: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Sentence {
    pub(super) text: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Nodes {
    q: Vec<u32>,
}

impl Answer {
    /// False-discovery rate of "the total changed", 0…1.
    pub(super) fn total_q(&self) -> f64 {
        f64::from(self.nodes.q.first().copied().unwrap_or(10_000)) / 10_000.0
    }
}

/// Where answers come from.
#[derive(Debug)]
pub(super) enum Comparison<'a> {
    /// A collector.
    Asked {
        server: &'a Server,
        /// Names and values of the baseline.
        a: Pairs,
        /// And of the candidate.
        b: Pairs,
        basis: &'a str,
    },
    /// Two files.
    Read(Box<Files>),
}

type Pairs = Vec<(String, String)>;

/// Two files that were read.
#[derive(Debug)]
pub(super) struct Files {
    a: Alone,
    b: Alone,
    names: [String; 2],
    basis: Option<Basis>,
    profile_type: Option<String>,
}

impl<'a> Comparison<'a> {
    /// Reads the files, or the selections. The error is a sentence.
    pub(super) fn of(args: &'a ComparisonArgs) -> Result<Self, String> {
        if let [a, b] = args.files.as_slice() {
            let basis = args.basis.as_deref().and_then(Basis::parse);
            let (of_a, of_b) = (read(a)?, read(b)?);
            let names = [name(a), name(b)];
            let files = Files { a: of_a, b: of_b, names, basis, profile_type: args.profile_type.clone() };
            return Ok(Self::Read(Box::new(files)));
        }
        let (a, b) = (args.baseline.as_deref().unwrap_or_default(), args.candidate.as_deref().unwrap_or_default());
        let basis = args.basis.as_deref().unwrap_or(Basis::Cores.as_str());
        Ok(Self::Asked { server: &args.server, a: selection(a)?, b: selection(b)?, basis })
    }

    /// What is compared: the whole, or of another type, or what a filter keeps.
    pub(super) fn answer(&self, profile_type: Option<&str>, filter: Option<&str>) -> Result<Answer, String> {
        let answer = match self {
            Self::Asked { server, .. } => {
                server.json(&self.path(profile_type, filter)).map_err(|error| error.to_string())?
            }
            Self::Read(files) => files.view(profile_type, filter)?.flame().to_json_value(),
        };
        serde_json::from_value(answer).map_err(|_| match self {
            Self::Asked { server, .. } => server.not_understood().to_string(),
            Self::Read(_) => "the comparison of the files cannot be read".to_owned(),
        })
    }

    /// The comparison for a pull request.
    pub(super) fn markdown(&self) -> Result<String, String> {
        match self {
            Self::Asked { server, .. } => {
                let path = format!("{}&format=markdown", self.path(None, None));
                let content = server.get(&path).map_err(|error| error.to_string())?;
                Ok(String::from_utf8_lossy(&content).into_owned())
            }
            Self::Read(files) => Ok(files.view(None, None)?.markdown()),
        }
    }

    /// The page that shows the same comparison for as long as its data is kept: its times are fixed. Files have none.
    pub(super) fn page(&self, answer: &Answer) -> Option<String> {
        let Self::Asked { server, a, b, basis } = self else { return None };
        Some(format!("{}{}", server.address(), page(a.clone(), b.clone(), answer, basis)))
    }

    fn path(&self, profile_type: Option<&str>, filter: Option<&str>) -> String {
        let Self::Asked { a, b, basis, .. } = self else { return String::new() };
        let of = |pairs: &Pairs| {
            let others = pairs.iter().filter(|(name, _)| name != "type" || profile_type.is_none());
            let asked = profile_type.map(|name| ("type".to_owned(), name.to_owned()));
            others.cloned().chain(asked).collect::<Pairs>()
        };
        let filter = filter.map_or(String::new(), |filter| format!("&filter={}", encode(filter)));
        format!("/api/v1/diff?{}&{}&basis={basis}{filter}", query(&of(a), "a."), query(&of(b), "b."))
    }
}

impl Files {
    fn view(&self, profile_type: Option<&str>, filter: Option<&str>) -> Result<View, String> {
        let profile_type = self.profile_type(profile_type.or(self.profile_type.as_deref()))?;
        let basis = self.basis(&profile_type)?;
        let filters = Filters::parse(filter.as_slice()).map_err(|error| error.to_string())?;
        let ((a, of_a), (b, of_b)) = (self.a.merged(&profile_type), self.b.merged(&profile_type));
        let tree = filters.apply(Tree::pair((&a, &of_a), (&b, &of_b)));
        let options = ViewOptions { basis, ..ViewOptions::default() };
        Ok(View::of_two(&self.names[1], tree, coverage([&a, &b]), options))
    }

    /// The one that is asked for, or the one to look at first of those that both have.
    fn profile_type(&self, wanted: Option<&str>) -> Result<ProfileType, String> {
        let (of_a, of_b) = (self.a.types(), self.b.types());
        let both: Vec<&ProfileType> = of_b.iter().filter(|b| of_a.iter().any(|a| a.measures_as(b))).copied().collect();
        let found = match wanted {
            Some(wanted) => both.iter().find(|one| one.name == wanted),
            None => both.iter().find(|one| one.name == "cpu").or(both.first()),
        };
        found.map(|found| (*found).clone()).ok_or_else(|| {
            let list = |types: &[&ProfileType]| {
                let types: Vec<String> = types.iter().map(|one| format!("{} in {}", one.name, one.unit)).collect();
                if types.is_empty() { "nothing".to_owned() } else { types.join(", ") }
            };
            let [a, b] = &self.names;
            let what = wanted.map_or("no type".to_owned(), |wanted| format!("no type {wanted:?}"));
            format!("{a} and {b} have {what} in common: {a} measures {}, {b} measures {}", list(&of_a), list(&of_b))
        })
    }

    /// By the second, where both say how many there were.
    fn basis(&self, profile_type: &ProfileType) -> Result<Basis, String> {
        let silent =
            [(&self.a, &self.names[0]), (&self.b, &self.names[1])].into_iter().find(|(one, _)| one.seconds().is_none());
        match (self.basis, silent) {
            (Some(basis @ (Basis::Cores | Basis::Instance)), Some((_, name))) if profile_type.kind == Kind::Counter => {
                Err(format!(
                    "{name} does not say how long it took, which {} needs: take --basis total or share",
                    basis.as_str()
                ))
            }
            (Some(basis), _) => Ok(basis),
            (None, Some(_)) if profile_type.kind == Kind::Counter => Ok(Basis::Total),
            (None, _) => Ok(Basis::Cores),
        }
    }
}

fn read(path: &Path) -> Result<Alone, String> {
    let content = bytes_of(path)?;
    let imported = decode(&content).map_err(|error| format!("{}: {error}: {}", path.display(), error.hint()))?;
    Alone::new(imported, &name(path)).map_err(|error| format!("{}: {error}", path.display()))
}

/// A file, as long as a collector would take it.
pub(super) fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let mut content = Vec::new();
    let open = File::open(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let limit = PPROF_BYTES_MAX as u64 + 1;
    open.take(limit).read_to_end(&mut content).map_err(|error| format!("cannot read {shown}: {error}"))?;
    if content.len() > PPROF_BYTES_MAX {
        return Err(format!(
            "{shown} has more than {PPROF_BYTES_MAX} bytes, the most that is read: gzip it, or take it over a shorter time"
        ));
    }
    Ok(content)
}

/// What a file is called in sentences.
pub(super) fn name(path: &Path) -> String {
    crate::profile::names::printable(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

fn page(mut a: Pairs, mut b: Pairs, answer: &Answer, basis: &str) -> String {
    let common: Pairs =
        a.iter().filter(|pair| pair.0 != "from" && pair.0 != "until" && b.contains(pair)).cloned().collect();
    for (side, times) in [(&mut a, &answer.a), (&mut b, &answer.b)] {
        side.retain(|pair| pair.0 != "from" && pair.0 != "until" && !common.contains(pair));
        side.extend([("from".to_owned(), times.from.to_string()), ("until".to_owned(), times.until.to_string())]);
    }
    let parts = [query(&common, ""), query(&a, "a."), query(&b, "b."), format!("basis={basis}")];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("/diff?{}", parts.join("&"))
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Called {
        #[command(flatten)]
        args: ComparisonArgs,
    }

    pub(in crate::cli) fn args(words: &[&str]) -> Result<ComparisonArgs, String> {
        let words = ["diff"].iter().chain(words);
        Called::try_parse_from(words).map(|called| called.args).map_err(|error| error.to_string())
    }

    /// Two files in a folder that lasts as long as it is held.
    pub(in crate::cli) fn files(a: &[u8], b: &[u8]) -> (tempfile::TempDir, [String; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let paths = [("before.txt", a), ("after.txt", b)].map(|(name, content)| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        });
        (folder, paths)
    }

    fn compared(a: &str, b: &str, words: &[&str]) -> Result<Answer, String> {
        let (_folder, [a, b]) = files(a.as_bytes(), b.as_bytes());
        let args = args(&[&[a.as_str(), b.as_str()], words].concat())?;
        Comparison::of(&args)?.answer(None, None)
    }

    const BEFORE: &str = "main;serve;tax 1000\nmain;serve;render 3000\n";
    const AFTER: &str = "main;serve;tax 2000\nmain;serve;render 3010\n";

    #[test]
    fn two_files_are_compared_as_two_selections_are() {
        let answer = compared(BEFORE, AFTER, &[]).unwrap();
        assert_eq!((answer.a.value, answer.b.value, answer.b.samples), (4000.0, 5010.0, 5010));
        assert_eq!(answer.movers.len(), 1, "{answer:?}");
        assert_eq!((answer.movers[0].name.as_str(), answer.movers[0].delta), ("tax", 1000.0));
        assert!(answer.total_q() < 0.001);
        assert!(answer.summary[0].text.contains("after.txt"), "{answer:?}");
        let shares = compared(BEFORE, AFTER, &["--basis", "share"]).unwrap();
        assert_eq!(shares.b.unit, "share");
    }

    #[test]
    fn a_filter_compares_what_it_keeps() {
        let (_folder, [a, b]) = files(BEFORE.as_bytes(), AFTER.as_bytes());
        let args = args(&[&a, &b]).unwrap();
        let comparison = Comparison::of(&args).unwrap();
        let kept = comparison.answer(None, Some("keep:/^tax/")).unwrap();
        assert_eq!((kept.a.value, kept.b.value), (1000.0, 2000.0));
        assert!(comparison.markdown().unwrap().contains("| `tax` |"));
        assert_eq!(comparison.page(&kept), None);
    }

    #[test]
    fn what_cannot_be_compared_is_said_with_what_to_do() {
        let no = |a: &str, b: &str, words: &[&str]| compared(a, b, words).unwrap_err();
        assert!(no(BEFORE, AFTER, &["--basis", "cores"]).contains("before.txt does not say how long it took"));
        assert!(no(BEFORE, AFTER, &["--type", "heap"]).contains("no type \"heap\" in common: before.txt measures"));
        assert!(no(BEFORE, "\u{0}\u{1}\u{2}", &[]).contains("after.txt: "));
        assert!(no("", AFTER, &[]).contains("before.txt: "));
        let speed = r#"{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":[{"name":"a"}]},"profiles":[{"type":"sampled","name":"x","unit":"bytes","startValue":0,"endValue":1,"samples":[[0]],"weights":[1]}]}"#;
        assert!(no(BEFORE, speed, &[]).contains("have no type in common"), "{}", no(BEFORE, speed, &[]));
        assert!(args(&["one.pb"]).unwrap_err().contains("2 values required"));
        assert!(args(&["a", "b", "--baseline", "service=x"]).unwrap_err().contains("cannot be used with"));
        assert!(args(&["--baseline", "service=x"]).unwrap_err().contains("--candidate"));
        assert!(args(&[]).unwrap_err().contains("required"));
        let missing = args(&["/no/such/a", "/no/such/b"]).unwrap();
        assert!(Comparison::of(&missing).unwrap_err().contains("cannot read /no/such/a"));
    }

    #[test]
    fn a_collector_is_asked_for_the_type_and_the_stacks_of_a_budget() {
        let args =
            args(&["--baseline", "service=c,version=v1,type=wall", "--candidate", "service=c,version=v2"]).unwrap();
        let comparison = Comparison::of(&args).unwrap();
        assert_eq!(
            comparison.path(Some("cpu"), Some("keep:/^a/")),
            "/api/v1/diff?a.service=c&a.label.version=v1&a.type=cpu&b.service=c&b.label.version=v2&b.type=cpu&basis=cores&filter=keep:/%5Ea/"
        );
        assert!(comparison.path(None, None).contains("a.type=wall&b.service=c"));
    }

    pub(in crate::cli) fn answer(a: f64, b: f64, total_q: u32, delta: f64, q: f64) -> Answer {
        let side =
            |value: f64| json!({ "from": 1_000, "until": 2_000, "samples": 5_000, "value": value, "unit": "cores" });
        serde_json::from_value(json!({
            "service": "checkout", "type": { "name": "cpu" },
            "a": side(a), "b": side(b), "nodes": { "q": [total_q] },
            "movers": [{ "name": "tax::rate_for", "a": 1.0, "b": 1.0 + delta, "delta": delta, "q": q }],
            "summary": [{ "text": "checkout used more." }],
        }))
        .unwrap()
    }

    #[test]
    fn the_link_has_fixed_times_and_says_once_what_both_sides_share() {
        let (a, b) =
            (selection("service=c,version=v1,from=now-2h").unwrap(), selection("service=c,version=v2").unwrap());
        assert_eq!(
            page(a, b, &answer(1.0, 1.0, 10_000, 0.0, 1.0), "cores"),
            "/diff?service=c&a.label.version=v1&a.from=1000&a.until=2000&b.label.version=v2&b.from=1000&b.until=2000&basis=cores"
        );
    }
}
