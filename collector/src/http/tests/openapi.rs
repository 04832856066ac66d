//! The document of the API is what the routes are: each has its place in it, with the role that it needs and the parameters that it knows.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;

use super::Lab;
use crate::http::permissions::{self, Need};
use crate::http::routes;

async fn document(lab: &Lab) -> Value {
    let document = lab.json("/api/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    document
}

/// What the document has, by path and method.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let mut operations = BTreeMap::new();
    for (path, of) in document["paths"].as_object().unwrap() {
        for (method, operation) in of.as_object().unwrap() {
            operations.insert((path.clone(), method.to_uppercase()), operation.clone());
        }
    }
    operations
}

/// What a reference stands for.
fn resolved(document: &Value, of: &Value) -> Value {
    let Some(reference) = of["$ref"].as_str() else { return of.clone() };
    let found = document.pointer(reference.strip_prefix('#').unwrap());
    found.unwrap_or_else(|| panic!("{reference} is nowhere")).clone()
}

fn parameters(document: &Value, operation: &Value) -> Vec<Value> {
    let given = operation["parameters"].as_array().into_iter().flatten();
    given.map(|parameter| resolved(document, parameter)).collect()
}

#[tokio::test]
async fn every_route_is_in_the_document_and_nothing_else_is() {
    let lab = Lab::new().await;
    let document = document(&lab).await;
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut operations = operations(&document);
    for route in routes::all(&lab.state) {
        let path = route.path.replace("{*", "{");
        for method in &route.methods {
            let operation = operations.remove(&(path.clone(), method.to_string()));
            let operation = operation.unwrap_or_else(|| panic!("{method} {path} is not in collector/openapi.json"));
            let need = match permissions::of(method, route.path).unwrap().need {
                Need::Nothing => "nothing",
                Need::Role(role) => role.as_str(),
            };
            assert_eq!(operation["x-tephra-role"], need, "{method} {path}");
            let has_body = operation.get("requestBody").is_some();
            assert!(!has_body || route.body.bytes > 0, "{method} {path} takes no body");
            assert!(has_body || method != "POST" || route.body.bytes == 0, "{method} {path} takes a body");
        }
    }
    assert_eq!(operations.keys().collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "there are no such routes");
}

#[tokio::test]
async fn the_document_refers_to_what_it_has_and_names_what_is_in_paths() {
    let lab = Lab::new().await;
    let document = document(&lab).await;
    let (mut ids, mut used) = (BTreeSet::new(), BTreeSet::new());
    for ((path, method), operation) in operations(&document) {
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{method} {path}: its id is another's"
        );
        assert!(!operation["summary"].as_str().unwrap().is_empty() && operation["tags"][0].is_string(), "{path}");
        let in_path: BTreeSet<String> =
            path.split('/').filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned())).collect();
        let parameters = parameters(&document, &operation);
        let said = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let said: BTreeSet<String> = said.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(said, in_path, "{method} {path}");
        for answer in operation["responses"].as_object().unwrap().values() {
            assert!(resolved(&document, answer)["description"].is_string(), "{method} {path}");
        }
        used.extend(
            operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|of| of["$ref"].as_str().map(str::to_owned)),
        );
    }
    let known = document["components"]["parameters"].as_object().unwrap().keys();
    let known: BTreeSet<String> = known.map(|name| format!("#/components/parameters/{name}")).collect();
    assert_eq!(used, known, "each is used somewhere");
}

/// Paths whose parameters are a grammar of their own, or that pass over what they do not know.
const FREE: [&str; 4] = ["/alert.json", "/ingest", "/pyroscope/render", "/pyroscope/render-diff"];

#[tokio::test]
async fn each_path_knows_the_parameters_that_the_document_says() {
    let lab = Lab::new().await;
    let document = document(&lab).await;
    let mut compared = 0;
    for ((path, method), operation) in operations(&document) {
        if FREE.contains(&path.as_str()) {
            continue;
        }
        let parameters: Vec<Value> =
            parameters(&document, &operation).into_iter().filter(|parameter| parameter["in"] == "query").collect();
        let mut query = form_urlencoded::Serializer::new(String::new());
        for parameter in parameters.iter().filter(|parameter| parameter["required"] == true) {
            let example = parameter["example"].as_str().unwrap_or_else(|| panic!("{path}: {parameter} has no example"));
            query.append_pair(parameter["name"].as_str().unwrap(), example);
        }
        // A comparison needs a service on both sides.
        if path == "/api/v1/diff" {
            query.append_pair("service", "checkout");
        }
        query.append_pair("nobody-knows-this", "1");
        let example =
            path.replace("{trace_id}", &"07".repeat(16)).replace("{profile}", "profile").replace(['{', '}'], "");
        let request = Request::builder().method(method.as_str()).uri(format!("{example}?{}", query.finish()));
        let got = lab.send(request.header("host", "localhost").body(Body::empty()).unwrap()).await;
        let hint =
            serde_json::from_slice::<Value>(&got.body).ok().and_then(|said| Some(said["hint"].as_str()?.to_owned()));
        let names: BTreeSet<&str> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        let is_told = |hint: &str| hint.starts_with("known here: ") || hint == "this path takes no parameters";
        let Some(hint) = hint.filter(|hint| is_told(hint)) else {
            // Pages, calls and files take no parameters, or everybody's.
            assert!(
                names.is_empty(),
                "{method} {path} does not refuse what it does not know: {} {}",
                got.status,
                got.text()
            );
            continue;
        };
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{method} {path}");
        let known: BTreeSet<&str> =
            hint.strip_prefix("known here: ").unwrap_or_default().split(", ").filter(|name| !name.is_empty()).collect();
        assert_eq!(known, names, "{method} {path}: what it knows, and what collector/openapi.json says");
        compared += 1;
    }
    assert!(compared >= 25, "{compared}");
}
