//! The tools: what each is for, what it takes, and its answer in words.

use std::fmt::Write;

use axum::extract::State;
use serde_json::{Map, Value, json};
use tephra_proto::ids::TraceId;

use crate::alerts::link::AlertLink;
use crate::analysis::table::functions;
use crate::analysis::{self, ViewOptions, quantity};
use crate::base::clock::now_ms;
use crate::base::times::format_utc;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::routes::growth::growth_json;
use crate::profile::model::Partial;
use crate::work::blocking;

/// Functions of a table, where nobody says how many.
const ROWS_DEFAULT: usize = 30;

/// The most of them.
const ROWS_MAX: usize = 500;

/// Services that are listed, and spans of one of a trace.
const SERVICES_MAX: usize = 500;
const SPANS_MAX: usize = 50;

/// Arguments within arguments.
const DEPTH_MAX: usize = 3;

/// One tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Services,
    TopFunctions,
    Diff,
    Alert,
    Growth,
    Trace,
}

impl Tool {
    const ALL: [Self; 6] = [Self::Services, Self::TopFunctions, Self::Diff, Self::Alert, Self::Growth, Self::Trace];

    fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::TopFunctions => "top_functions",
            Self::Diff => "diff",
            Self::Alert => "alert",
            Self::Growth => "growth",
            Self::Trace => "trace",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Services => {
                "Which services there are, their CPU in cores, profile types and labels (versions, zones, …)."
            }
            Self::TopFunctions => {
                "What a service's CPU, memory or waiting is spent in: an exact table of functions, each with its own cost and its cost with all that it calls."
            }
            Self::Diff => {
                "What changed between two sides of a service: times, versions, or any labels. Sentences, and the functions that changed, with their significance."
            }
            Self::Alert => {
                "Why an alert fired, or what is different now: the window before a moment against the best baseline there is, since when, and which function did it."
            }
            Self::Growth => {
                "What a service's live memory grew in: functions that hold more at the end of a range than at its start."
            }
            Self::Trace => "What one trace did: its requests, and what it cost, in every service it went through.",
        }
    }

    /// JSON Schema of what it takes.
    fn takes(self) -> Value {
        let text = |about: &str| json!({ "type": "string", "description": about });
        let (from, until) =
            (text("Start, such as now-1h (the default) or 2026-03-01T14:00:00Z"), text("End; now by default"));
        let service = text("Name of the service, as `services` lists it");
        let profile_type = text("Profile type, as `services` lists it; cpu by default");
        let labels = json!({ "type": "object", "description": "Only what has these labels, such as {\"version\": \"v2\"}", "additionalProperties": { "type": "string" } });
        let of = |properties: Value, required: Value| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
        match self {
            Self::Services => of(json!({ "from": from, "until": until }), json!([])),
            Self::TopFunctions => of(
                json!({
                    "service": service, "type": profile_type, "from": from, "until": until, "labels": labels,
                    "limit": { "type": "integer", "minimum": 1, "maximum": ROWS_MAX, "description": "Functions; 30 by default" },
                    "filter": { "type": "array", "items": { "type": "string" }, "description": "keep:, drop:, hide:, focus: or pivot: and a part of a name, /regex/, crate:NAME or family:NAME" },
                }),
                json!(["service"]),
            ),
            Self::Diff => {
                let side = |about: &str| {
                    of(json!({ "from": from, "until": until, "labels": labels, "service": text(about) }), json!([]))
                };
                of(
                    json!({
                        "service": service, "type": profile_type, "from": from, "until": until, "labels": labels,
                        "a": side("Another service, as the baseline"), "b": side("Another service, to compare"),
                        "basis": { "type": "string", "enum": ["cores", "share", "instance", "total"] },
                    }),
                    json!(["service", "a", "b"]),
                )
            }
            Self::Alert => of(
                json!({
                    "service": service, "type": profile_type, "labels": labels,
                    "at": text("When it fired; now by default"), "w": text("How long before is looked at; 10m by default"),
                    "vs": { "type": "string", "enum": ["deploy", "1d", "1w", "prev"], "description": "What to compare with; chosen by default" },
                }),
                json!(["service"]),
            ),
            Self::Growth => of(
                json!({ "service": service, "type": text("inuse_space by default"), "from": from, "until": until, "labels": labels }),
                json!(["service"]),
            ),
            Self::Trace => of(json!({ "trace_id": text("32 hexadecimal digits") }), json!(["trace_id"])),
        }
    }

    /// The answer, for whoever reads text.
    ///
    /// # Errors
    /// As the API's.
    pub(super) async fn call(self, state: &AppState, arguments: &Value) -> Result<String, ApiError> {
        let params = params(arguments)?;
        match self {
            Self::Services => services(state, params).await,
            Self::TopFunctions => top_functions(state, params).await,
            Self::Diff => diff(state, params).await,
            Self::Alert => alert(state, params).await,
            Self::Growth => growth(state, params).await,
            Self::Trace => trace(state, params).await,
        }
    }
}

/// As `tools/list` has them.
pub(super) fn all() -> Vec<Value> {
    let one = |tool: Tool| {
        json!({
            "name": tool.name(),
            "description": tool.description(),
            "inputSchema": tool.takes(),
            "annotations": { "readOnlyHint": true, "openWorldHint": false },
        })
    };
    Tool::ALL.into_iter().map(one).collect()
}

pub(super) fn named(name: &str) -> Option<Tool> {
    Tool::ALL.into_iter().find(|tool| tool.name() == name)
}

/// Arguments as a query of the API: both are read by the same code, with the same limits.
fn params(arguments: &Value) -> Result<Params, ApiError> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    match arguments {
        Value::Null => {}
        Value::Object(of) => add(&mut query, "", of, 0)?,
        _ => return Err(ApiError::invalid("arguments are no object", "send them by name")),
    }
    Params::parse(&query.finish())
}

fn add(
    query: &mut form_urlencoded::Serializer<'_, String>,
    prefix: &str,
    of: &Map<String, Value>,
    depth: usize,
) -> Result<(), ApiError> {
    for (name, value) in of {
        let name = format!("{prefix}{name}");
        let many = match value {
            Value::Array(many) => many.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in many {
            match value {
                Value::Null => {}
                Value::String(text) => {
                    query.append_pair(&name, text);
                }
                Value::Number(number) => {
                    query.append_pair(&name, &number.to_string());
                }
                Value::Object(of) if depth < DEPTH_MAX => {
                    // `labels` are said as `label.<name>` there.
                    let inner = name.strip_suffix("labels").map_or(format!("{name}."), |side| format!("{side}label."));
                    add(query, &inner, of, depth + 1)?;
                }
                _ => {
                    let shown: String = name.chars().take(64).collect();
                    return Err(ApiError::invalid(
                        format!("{shown:?} is no text"),
                        "the tool's schema says what it takes",
                    ));
                }
            }
        }
    }
    Ok(())
}

async fn services(state: &AppState, mut params: Params) -> Result<String, ApiError> {
    let range = params.range(now_ms())?;
    params.finish()?;
    let (mut services, partial) = state.in_turn(async { Ok(state.engine.services(range).await?) }).await?;
    services.sort_by(|a, b| b.cpu_cores.total_cmp(&a.cpu_cores));
    let mut text = format!("{} services, {}.\n\n", services.len(), times(range.from_ms, range.until_ms));
    text += "| service | CPU (cores) | instances | profile types | labels |\n|---|--:|--:|---|---|\n";
    for of in services.iter().take(SERVICES_MAX) {
        let labels = of.labels.iter().map(|(name, values)| {
            let values: Vec<&str> = values.iter().take(8).map(String::as_str).collect();
            format!("{name}={}", values.join("/"))
        });
        let labels = labels.collect::<Vec<_>>().join(" ");
        row(
            &mut text,
            [&of.name, &format!("{:.3}", of.cpu_cores), &of.instances.to_string(), &of.types.join(" "), &labels],
        );
    }
    if services.len() > SERVICES_MAX {
        say(&mut text, format!("\nThe other {} use less.", services.len() - SERVICES_MAX));
    }
    say_part(&mut text, partial);
    Ok(text)
}

async fn top_functions(state: &AppState, mut params: Params) -> Result<String, ApiError> {
    let limit = params.number("limit", 1, ROWS_MAX)?.unwrap_or(ROWS_DEFAULT);
    let selection = params.selection(now_ms())?;
    let filters = params.filters()?;
    params.finish()?;
    let prepared = state.engine.prepare(&selection).await?;
    let merged = state.in_turn(async { Ok(state.engine.merge_prepared(&prepared).await?) }).await?;
    let (symbols, service) = (state.symbols.clone(), selection.service.to_string());
    let text = blocking(move || {
        let partial = merged.partial;
        let view = analysis::filtered_flamegraph(&service, &merged, &symbols, &filters, ViewOptions::default());
        let (side, unit) = (view.side(0), merged.profile_type.unit.clone());
        let mut text = format!(
            "{} of {service}, {}: {}, that is {} {unit} in {} samples of {} {}.",
            quantity::of_type(&merged.profile_type.name),
            times(side.from, side.until),
            quantity::amount(side.value, &side.unit),
            side.total,
            side.samples,
            side.instances,
            if side.instances == 1 { "instance" } else { "instances" },
        );
        if let Some(why) = merged.empty_because.as_ref().filter(|_| side.total == 0) {
            say(&mut text, format!(" There is nothing: {why}"));
            return text;
        }
        let rows = functions(&view.tree, 0);
        text += "\n\n| function | self | self % | with callees | with callees % | where |\n|---|--:|--:|--:|--:|---|\n";
        let share = |value: u64| quantity::percent(value as f64 / (side.total.max(1)) as f64);
        for of in rows.iter().take(limit) {
            let frame = &view.tree.frames[of.frame as usize];
            let place =
                if frame.file.is_empty() { frame.module.to_string() } else { format!("{}:{}", frame.file, frame.line) };
            let cells = [of.own.to_string(), share(of.own), of.total.to_string(), share(of.total)];
            row(&mut text, [&frame.function, &cells[0], &cells[1], &cells[2], &cells[3], &place]);
        }
        if rows.len() > limit {
            say(&mut text, format!("\nThe other {} functions cost less themselves.", rows.len() - limit));
        }
        say_part(&mut text, partial);
        text
    });
    Ok(text.await?)
}

async fn diff(state: &AppState, mut params: Params) -> Result<String, ApiError> {
    let (a, b) = params.two_selections(now_ms())?;
    let basis = params.basis()?;
    params.finish()?;
    let engine = state.engine.within(state.engine.timeout() / 2);
    let (of_a, of_b) = (engine.prepare(&a).await?, engine.prepare(&b).await?);
    let merged = async { Ok((engine.merge_prepared(&of_a).await?, engine.merge_prepared(&of_b).await?)) };
    let (of_a, of_b) = state.in_turn(merged).await?;
    let (symbols, service) = (state.symbols.clone(), b.service.to_string());
    let text = blocking(move || {
        let options = ViewOptions { basis, ..ViewOptions::default() };
        let mut text = analysis::compare(&service, &of_a, &of_b, &symbols, options).markdown();
        for (side, of) in [("A", &of_a), ("B", &of_b)] {
            say(&mut text, format!("\n{side}: {}.", times(of.from_ms, of.until_ms)));
            if let Some(why) = &of.empty_because {
                say(&mut text, format!(" There is nothing: {why}"));
            }
            say_part(&mut text, of.partial);
        }
        text
    });
    Ok(text.await?)
}

async fn alert(state: &AppState, params: Params) -> Result<String, ApiError> {
    let (link, ignored) = AlertLink::parse(params.into_pairs(), now_ms())?;
    if let Some(name) = ignored.first() {
        return Err(ApiError::invalid(
            format!("argument {name:?} is not known"),
            "the tool's schema says what it takes",
        ));
    }
    let answer = state.answers.answer(&link).await?.to_json();
    let mut text = String::new();
    for sentence in std::iter::once(&answer["headline"]).chain(sentences(&answer)) {
        say(&mut text, format!("- {}\n", sentence.as_str().unwrap_or_default()));
    }
    let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (confidence, why) = (words(&answer["confidence"]), words(&answer["confidence_why"]));
    say(&mut text, format!("\nConfidence: {confidence}{}{why}\n", if why.is_empty() { "" } else { ": " }));
    say(&mut text, format!("Baseline: {} ({})\n", words(&answer["baseline"]["vs"]), words(&answer["baseline"]["why"])));
    for (name, link) in answer["links"].as_object().into_iter().flatten() {
        if let Some(link) = link.as_str() {
            say(&mut text, format!("{name}: {link}\n"));
        }
    }
    Ok(text)
}

async fn growth(state: &AppState, params: Params) -> Result<String, ApiError> {
    let answer = growth_json(State(state.clone()), params).await?.0;
    let unit = answer["unit"].as_str().unwrap_or_default();
    let mut text = String::new();
    for sentence in sentences(&answer) {
        say(&mut text, format!("- {}\n", sentence.as_str().unwrap_or_default()));
    }
    if let Some(why) = answer["empty"].as_str() {
        say(&mut text, format!("There is nothing: {why}\n"));
    }
    text += "\n| function | more | per hour | how |\n|---|--:|--:|---|\n";
    for grower in answer["growers"].as_array().into_iter().flatten() {
        let amount = |of: &Value| quantity::amount(of.as_f64().unwrap_or_default(), unit);
        let name = grower["name"].as_str().unwrap_or_default();
        let how = grower["trend"].as_str().unwrap_or_default();
        row(&mut text, [name, &amount(&grower["delta"]), &amount(&grower["per_hour"]), how]);
    }
    say(&mut text, format!("\ndiff: {}\n", answer["diff"].as_str().unwrap_or_default()));
    Ok(text)
}

async fn trace(state: &AppState, mut params: Params) -> Result<String, ApiError> {
    let trace_id = TraceId::parse(&params.require("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")?)?;
    params.finish()?;
    let found = state.in_turn(async { Ok(state.engine.trace(trace_id).await?) }).await?;
    let Some(view) = found else {
        let hint = "a trace is kept for some days, once one of its requests was sampled or among the slowest";
        return Err(ApiError::not_found(format!("nothing was received for trace {trace_id}"), hint));
    };
    let symbols = state.symbols.clone();
    let text = blocking(move || {
        let mut text = format!("Trace {trace_id}, {}.\n", times(view.from_ms, view.until_ms));
        for of in &view.services {
            say(&mut text, format!("\n## {}\n\n", cell(&of.service)));
            for span in of.spans.iter().take(SPANS_MAX) {
                let status = crate::analysis::requests::status_name(span.status);
                let took = quantity::duration(span.duration_us);
                say(&mut text, format!("- {} took {took}, {status}\n", cell(&span.route)));
            }
            for merged in &of.types {
                let resolutions = symbols.resolve(&merged.modules, &merged.frames);
                let tree = crate::profile::tree::Tree::of((merged, &resolutions));
                let name = &merged.profile_type.name;
                say(&mut text, format!("\n{name}: {} {}, of which\n", merged.total(), merged.profile_type.unit));
                for of in functions(&tree, 0).iter().take(10) {
                    let function = &tree.frames[of.frame as usize].function;
                    say(&mut text, format!("- {} itself {}, with callees {}\n", cell(function), of.own, of.total));
                }
            }
        }
        say_part(&mut text, view.partial);
        text
    });
    Ok(text.await?)
}

fn sentences(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["sentences"].as_array().into_iter().flatten().map(|sentence| &sentence["text"])
}

fn times(from_ms: u64, until_ms: u64) -> String {
    format!("from {} until {}", format_utc(from_ms), format_utc(until_ms))
}

fn say_part(text: &mut String, partial: Option<Partial>) {
    if let Some(partial) = partial {
        let Partial { reason, from_ms, until_ms, .. } = partial;
        say(text, format!("\nThis is about the part {}: the query {}.", times(from_ms, until_ms), reason.words()));
    }
}

fn say(text: &mut String, more: impl AsRef<str>) {
    text.push_str(more.as_ref());
}

fn row<const N: usize>(text: &mut String, cells: [&str; N]) {
    for of in cells {
        write!(text, "| {} ", cell(of)).expect("strings take what they are given");
    }
    text.push_str("|\n");
}

/// Names come from strangers: in one line, and in their cell.
fn cell(text: &str) -> String {
    let plain = |c: char| if tephra_proto::label::is_printable(c) { c } else { ' ' };
    text.chars().map(plain).collect::<String>().replace('|', "\\|")
}
