//! What is to be scraped, as Prometheus' configuration says it: jobs, their targets, and how to get in.
//!
//! Written after <https://prometheus.io/docs/prometheus/latest/configuration/configuration/> and, for `profiling_config`, after Parca's and
//! Alloy's. A key that is not known here is refused with its line: what an operator wrote is done, or said not to be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::relabel::{Labels, Rule};
use super::yaml::{Fields, Node, Problem};
use crate::base::times::parse_duration;

/// Jobs of one file, and targets of one job as they are written.
const JOBS_MAX: usize = 100;
const TARGETS_MAX: usize = 2_000;

/// Labels of one group of targets.
const LABELS_MAX: usize = 64;

const INTERVAL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(10);
const REFRESH: Duration = Duration::from_secs(60);

/// Between two scrapes of a target there must be time to measure; and more than a day is no window.
const INTERVAL_MS: (u64, u64) = (5_000, 3_600_000);
const TIMEOUT_MS: (u64, u64) = (100, 120_000);
const REFRESH_MS: (u64, u64) = (1_000, 86_400_000);

/// A whole file.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) jobs: Vec<Job>,
}

/// Targets that are scraped alike.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) interval: Duration,
    /// For one answer, beside the seconds that its target measures for.
    pub(super) timeout: Duration,
    pub(super) scheme: String,
    pub(super) groups: Vec<Group>,
    pub(super) files: Vec<GroupFiles>,
    pub(super) relabel: Vec<Rule>,
    pub(super) auth: Auth,
    pub(super) tls: Tls,
    pub(super) prefix: String,
    pub(super) profiles: Vec<Profile>,
}

/// Targets with labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) targets: Vec<String>,
    pub(super) labels: Labels,
}

/// Files with groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupFiles {
    pub(super) patterns: Vec<PathBuf>,
    pub(super) refresh: Duration,
}

/// What is sent to say who asks.
#[derive(Clone, Default)]
pub(super) enum Auth {
    #[default]
    None,
    Basic {
        user: String,
        password: Secret,
    },
    Header {
        scheme: String,
        credentials: Secret,
    },
}

/// A secret, or the file that it is in.
#[derive(Clone)]
pub(super) enum Secret {
    Written(String),
    In(PathBuf),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::Header { .. } => "Header(…)",
        })
    }
}

/// Whom to believe, and what to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) ca: Option<PathBuf>,
    pub(super) cert_and_key: Option<(PathBuf, PathBuf)>,
    pub(super) skip_verify: bool,
}

/// One of a target's profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    /// As Pyroscope calls it: types are told apart by it.
    pub(super) name: &'static str,
    pub(super) path: String,
    /// The target measures for a while before it answers.
    pub(super) measures: bool,
}

/// What Go programs have, and where.
const PROFILES: [(&str, &str); 5] = [
    ("memory", "/debug/pprof/allocs"),
    ("mutex", "/debug/pprof/mutex"),
    ("block", "/debug/pprof/block"),
    ("goroutine", "/debug/pprof/goroutine"),
    // Last: it measures for the rest of the interval.
    (CPU, "/debug/pprof/profile"),
];

const CPU: &str = "process_cpu";

impl Config {
    /// Reads a file's text; names of files in it are relative to `folder`.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its line.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Problem> {
        let mut fields = Node::read(text)?.fields("the file")?;
        let mut defaults = (INTERVAL, TIMEOUT);
        if let Some(global) = fields.take("global") {
            let mut global = global.fields("global")?;
            defaults = times(&mut global, defaults)?;
            global.finish()?;
        }
        let jobs = fields.require("scrape_configs")?;
        let line = jobs.line;
        let jobs = jobs.list("scrape_configs")?;
        fields.finish()?;
        if jobs.is_empty() || jobs.len() > JOBS_MAX {
            return Err(Problem::at(line, format!("scrape_configs has {} jobs, limits 1 to {JOBS_MAX}", jobs.len())));
        }
        let mut read: Vec<Job> = Vec::new();
        for node in jobs {
            let line = node.line;
            let job = Job::read(node, defaults, folder)?;
            if read.iter().any(|known| known.name == job.name) {
                return Err(Problem::at(line, format!("job_name {:?} is given twice", job.name)));
            }
            read.push(job);
        }
        Ok(Self { jobs: read })
    }
}

impl Job {
    fn read(node: Node, defaults: (Duration, Duration), folder: &Path) -> Result<Self, Problem> {
        let mut fields = node.fields("scrape_configs")?;
        let line = fields.line;
        let name = fields.require("job_name")?.text("job_name")?;
        let (interval, timeout) = times(&mut fields, defaults)?;
        let scheme = fields.take("scheme").map_or(Ok("http".to_owned()), |node| node.parsed("scheme", scheme))?;
        let mut groups = Vec::new();
        for node in list(&mut fields, "static_configs")? {
            groups.push(Group::read(node)?);
        }
        let mut files = Vec::new();
        for node in list(&mut fields, "file_sd_configs")? {
            files.push(GroupFiles::read(node, folder)?);
        }
        if groups.is_empty() && files.is_empty() {
            return Err(Problem::at(line, format!("job {name:?} has neither static_configs nor file_sd_configs")));
        }
        let written: usize = groups.iter().map(|group| group.targets.len()).sum();
        if written > TARGETS_MAX {
            return Err(Problem::at(line, format!("job {name:?} has {written} targets, limit {TARGETS_MAX}")));
        }
        let relabel = list(&mut fields, "relabel_configs")?.into_iter().map(Rule::read).collect::<Result<_, _>>()?;
        let auth = Auth::read(&mut fields, folder)?;
        let tls = fields.take("tls_config").map_or(Ok(Tls::default()), |node| Tls::read(node, folder))?;
        let (mut prefix, mut profiles) = (String::new(), standard());
        if let Some(node) = fields.take("profiling_config") {
            let mut of = node.fields("profiling_config")?;
            prefix = of.take("path_prefix").map_or(Ok(String::new()), |node| node.parsed("path_prefix", path))?;
            if let Some(node) = of.take("pprof_config") {
                profiles = chosen(node.fields("pprof_config")?)?;
            }
            of.finish()?;
        }
        fields.finish()?;
        Ok(Self { name, interval, timeout, scheme, groups, files, relabel, auth, tls, prefix, profiles })
    }
}

impl Group {
    /// One group, as it stands in a configuration and in files of groups.
    pub(super) fn read(node: Node) -> Result<Self, Problem> {
        let mut fields = node.fields("a group of targets")?;
        let targets = fields.require("targets")?.list("targets")?;
        let targets = targets.into_iter().map(|node| node.parsed("a target", target)).collect::<Result<_, _>>()?;
        let labels = fields.take("labels").map_or(Ok(Vec::new()), |node| node.texts_by_name("labels"))?;
        if labels.len() > LABELS_MAX {
            return Err(Problem::at(fields.line, format!("{} labels, limit {LABELS_MAX}", labels.len())));
        }
        fields.finish()?;
        Ok(Self { targets, labels: labels.into_iter().collect() })
    }

    /// All groups of such a file.
    pub(super) fn read_all(text: &str) -> Result<Vec<Self>, Problem> {
        let groups: Vec<Self> =
            Node::read(text)?.list("a file of targets")?.into_iter().map(Self::read).collect::<Result<_, _>>()?;
        let targets: usize = groups.iter().map(|group| group.targets.len()).sum();
        if targets > TARGETS_MAX {
            return Err(Problem::at(0, format!("the file has {targets} targets, limit {TARGETS_MAX}")));
        }
        Ok(groups)
    }
}

impl GroupFiles {
    fn read(node: Node, folder: &Path) -> Result<Self, Problem> {
        let mut fields = node.fields("file_sd_configs")?;
        let files = fields.require("files")?.list("files")?;
        let pattern = |node: Node| {
            node.parsed("files", |text| match text.matches('*').count() {
                0 => Ok(folder.join(text)),
                1 if Path::new(text).file_name().is_some_and(|name| name.to_string_lossy().contains('*')) => {
                    Ok(folder.join(text))
                }
                _ => Err("one * in the last part is taken".to_owned()),
            })
        };
        let patterns = files.into_iter().map(pattern).collect::<Result<_, _>>()?;
        let refresh = duration(fields.take("refresh_interval"), "refresh_interval", REFRESH, REFRESH_MS)?;
        fields.finish()?;
        Ok(Self { patterns, refresh })
    }
}

impl Auth {
    fn read(fields: &mut Fields, folder: &Path) -> Result<Self, Problem> {
        let line = fields.line;
        let basic = fields.take("basic_auth").map(|node| -> Result<Self, Problem> {
            let mut of = node.fields("basic_auth")?;
            let user = of.require("username")?.text("username")?;
            let password = secret(&mut of, "password", "password_file", folder)?;
            of.finish()?;
            Ok(Self::Basic { user, password })
        });
        let header = fields.take("authorization").map(|node| -> Result<Self, Problem> {
            let mut of = node.fields("authorization")?;
            let scheme = of.take("type").map_or(Ok("Bearer".to_owned()), |node| node.text("type"))?;
            let credentials = secret(&mut of, "credentials", "credentials_file", folder)?;
            of.finish()?;
            Ok(Self::Header { scheme, credentials })
        });
        match (basic, header) {
            (Some(_), Some(_)) => Err(Problem::at(line, "either basic_auth or authorization can be sent, not both")),
            (Some(auth), None) | (None, Some(auth)) => auth,
            (None, None) => Ok(Self::None),
        }
    }
}

fn secret(fields: &mut Fields, written: &'static str, file: &'static str, folder: &Path) -> Result<Secret, Problem> {
    let line = fields.line;
    let given = (fields.take(written), fields.take(file));
    match given {
        (Some(node), None) => Ok(Secret::Written(node.text(written)?)),
        (None, Some(node)) => Ok(Secret::In(folder.join(node.text(file)?))),
        _ => Err(Problem::at(line, format!("either {written} or {file} is needed"))),
    }
}

impl Tls {
    fn read(node: Node, folder: &Path) -> Result<Self, Problem> {
        let mut fields = node.fields("tls_config")?;
        let line = fields.line;
        let mut file = |name: &'static str| {
            fields.take(name).map(|node| node.text(name).map(|path| folder.join(path))).transpose()
        };
        let (ca, cert, key) = (file("ca_file")?, file("cert_file")?, file("key_file")?);
        let skip = fields.take("insecure_skip_verify").map_or(Ok(false), |node| node.flag("insecure_skip_verify"))?;
        fields.finish()?;
        if cert.is_some() != key.is_some() {
            return Err(Problem::at(line, "cert_file and key_file go together"));
        }
        Ok(Self { ca, cert_and_key: cert.zip(key), skip_verify: skip })
    }
}

fn standard() -> Vec<Profile> {
    let one = |(name, path): (&'static str, &str)| Profile { name, path: path.to_owned(), measures: name == CPU };
    PROFILES.into_iter().map(one).collect()
}

/// All but those that are switched off, where they are said to be.
fn chosen(mut fields: Fields) -> Result<Vec<Profile>, Problem> {
    let mut profiles = Vec::new();
    for mut profile in standard() {
        let Some(node) = fields.take(profile.name) else {
            profiles.push(profile);
            continue;
        };
        let mut of = node.fields("pprof_config")?;
        let enabled = of.take("enabled").map_or(Ok(true), |node| node.flag("enabled"))?;
        if let Some(node) = of.take("path") {
            profile.path = node.parsed("path", path)?;
        }
        of.finish()?;
        if enabled {
            profiles.push(profile);
        }
    }
    fields.finish()?;
    Ok(profiles)
}

fn times(fields: &mut Fields, (interval, timeout): (Duration, Duration)) -> Result<(Duration, Duration), Problem> {
    let interval = duration(fields.take("scrape_interval"), "scrape_interval", interval, INTERVAL_MS)?;
    Ok((interval, duration(fields.take("scrape_timeout"), "scrape_timeout", timeout, TIMEOUT_MS)?))
}

fn duration(node: Option<Node>, of: &str, default: Duration, (min, max): (u64, u64)) -> Result<Duration, Problem> {
    let Some(node) = node else { return Ok(default) };
    node.parsed(of, |text| match parse_duration(text) {
        Ok(ms) if (min..=max).contains(&ms) => Ok(Duration::from_millis(ms)),
        Ok(_) => Err(format!("limits {min}ms to {}s", max / 1_000)),
        Err(error) => Err(error.hint().to_owned()),
    })
}

fn list(fields: &mut Fields, name: &'static str) -> Result<Vec<Node>, Problem> {
    fields.take(name).map_or(Ok(Vec::new()), |node| node.list(name))
}

fn scheme(text: &str) -> Result<String, String> {
    if matches!(text, "http" | "https") { Ok(text.to_owned()) } else { Err("http or https".to_owned()) }
}

fn target(text: &str) -> Result<String, String> {
    let is_address = text.len() <= 256
        && text.parse::<axum::http::uri::Authority>().is_ok_and(|of| of.as_str() == text && !text.contains('@'));
    if is_address { Ok(text.to_owned()) } else { Err("write HOST:PORT, without http:// and path".to_owned()) }
}

fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    if is_path { Ok(text.to_owned()) } else { Err("write a path such as /debug/pprof/heap".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
global:
  scrape_interval: 30s
scrape_configs:
  - job_name: shop
    scrape_timeout: 5s
    scheme: https
    static_configs:
      - targets: ['shop-1:6060', '[::1]:6060']
        labels: {zone: eu-1, service_name: checkout}
    file_sd_configs:
      - files: [targets/*.yml]
        refresh_interval: 10s
    relabel_configs:
      - {source_labels: [zone], target_label: region}
    authorization: {credentials_file: token}
    tls_config: {ca_file: ca.pem}
    profiling_config:
      path_prefix: /admin
      pprof_config:
        block: {enabled: false}
        memory: {path: /debug/pprof/heap}
  - job_name: own
    basic_auth: {username: u, password: p}
    static_configs: [{targets: [localhost:1]}]
";

    fn parse(text: &str) -> Result<Config, Problem> {
        Config::parse(text, Path::new("/etc/tephra"))
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = parse(WHOLE).unwrap();
        let [shop, own] = config.jobs.as_slice() else { panic!("{config:?}") };
        assert_eq!((shop.interval, shop.timeout), (Duration::from_secs(30), Duration::from_secs(5)));
        assert_eq!((shop.scheme.as_str(), shop.prefix.as_str()), ("https", "/admin"));
        assert_eq!(shop.groups[0].targets, ["shop-1:6060", "[::1]:6060"]);
        assert_eq!(shop.groups[0].labels["service_name"], "checkout");
        assert_eq!(shop.files[0].patterns, [PathBuf::from("/etc/tephra/targets/*.yml")]);
        assert_eq!(shop.tls.ca, Some(PathBuf::from("/etc/tephra/ca.pem")));
        assert!(matches!(&shop.auth, Auth::Header { scheme, credentials: Secret::In(file) }
            if scheme == "Bearer" && file == Path::new("/etc/tephra/token")));
        let paths: Vec<_> = shop.profiles.iter().map(|of| (of.name, of.path.as_str())).collect();
        assert_eq!(paths.len(), 4);
        assert_eq!(paths[0], ("memory", "/debug/pprof/heap"));
        assert!(shop.profiles.last().unwrap().measures);
        assert_eq!((own.interval, own.timeout, own.profiles.len()), (Duration::from_secs(30), TIMEOUT, 5));
        assert!(matches!(&own.auth, Auth::Basic { user, password: Secret::Written(_) } if user == "u"));
        assert!(!format!("{config:?}").contains("Written"), "no secret is shown");
    }

    #[test]
    fn what_is_not_known_or_cannot_be_is_refused_with_its_line() {
        let job =
            |more: &str| format!("scrape_configs:\n  - job_name: x\n    static_configs: [{{targets: [a:1]}}]\n{more}");
        for (text, says) in [
            (String::new(), "needs scrape_configs"),
            ("scrape_configs: []".to_owned(), "line 1: scrape_configs has 0 jobs"),
            (job("    metrics_path: /x"), "line 4: scrape_configs has no \"metrics_path\" here; there are: job_name"),
            (job("    kubernetes_sd_configs: []"), "line 4"),
            (job("    scrape_interval: 1s"), "line 4: scrape_interval is \"1s\": limits 5000ms"),
            (job("    scrape_interval: soon"), "line 4: scrape_interval"),
            (job("    scheme: ftp"), "http or https"),
            (job("    basic_auth: {username: a}"), "either password or password_file"),
            (job("    basic_auth: {username: a, password: b}\n    authorization: {credentials: c}"), "not both"),
            (job("    tls_config: {cert_file: a}"), "go together"),
            (job("    tls_config: {server_name: a}"), "\"server_name\""),
            (job("    profiling_config: {pprof_config: {fgprof: {}}}"), "\"fgprof\""),
            (job("    profiling_config: {path_prefix: x}"), "write a path"),
            (job("    file_sd_configs: [{files: ['**.yml']}]"), "one * in the last part"),
            (job("  - job_name: x\n    static_configs: [{targets: [b:1]}]"), "given twice"),
            ("scrape_configs:\n  - job_name: x".to_owned(), "neither static_configs"),
            (
                "scrape_configs:\n  - job_name: x\n    static_configs: [{targets: ['http://a:1/']}]".to_owned(),
                "HOST:PORT",
            ),
            ("scrape_configs:\n  - job_name: x\n    static_configs: [{targets: ['u:p@a:1']}]".to_owned(), "HOST:PORT"),
            (
                "remote_write: []\nscrape_configs: [{job_name: x, static_configs: [{targets: [a]}]}]".to_owned(),
                "remote_write",
            ),
        ] {
            let problem = parse(&text).unwrap_err().to_string();
            assert!(problem.contains(says), "{text}\n{problem}");
        }
    }

    #[test]
    fn files_of_targets_are_yaml_or_json() {
        let json = r#"[{"targets": ["a:1"], "labels": {"zone": "eu"}}, {"targets": []}]"#;
        let yaml = "- targets: ['a:1']\n  labels:\n    zone: eu\n- targets: []\n";
        assert_eq!(Group::read_all(json).unwrap(), Group::read_all(yaml).unwrap());
        for bad in ["{}", "- x", "- {target: [a]}", "- {targets: [a], labels: x}", "- {targets: ['a/b']}"] {
            assert!(Group::read_all(bad).is_err(), "{bad}");
        }
    }
}
