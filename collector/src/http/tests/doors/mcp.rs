//! What an assistant's client sends, from its first message on.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use super::Lab;
use crate::http::tests::{Got, regression, turn_ms};
use crate::ingest::testing::{TestWindow, row, traced};

async fn send(lab: &Lab, message: &Value) -> Got {
    let request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    let request = request.header("accept", "application/json, text/event-stream");
    let request = request.header("mcp-protocol-version", "2025-06-18").body(Body::from(message.to_string()));
    lab.send(request.unwrap()).await
}

async fn ask(lab: &Lab, method: &str, params: Value) -> Value {
    let got = send(lab, &json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    let answer = got.json();
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(1)));
    answer
}

/// The text of a tool's answer, and whether it is an error.
async fn tool(lab: &Lab, name: &str, arguments: Value) -> (String, bool) {
    let answer = ask(lab, "tools/call", json!({ "name": name, "arguments": arguments })).await;
    let result = &answer["result"];
    assert_eq!(result["content"][0]["type"], "text", "{answer}");
    (result["content"][0]["text"].as_str().unwrap().to_owned(), result["isError"].as_bool().unwrap())
}

#[tokio::test]
async fn a_client_introduces_itself_and_is_told_what_there_is() {
    let lab = Lab::new().await;
    for (asked, spoken) in [("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"), ("1999-01-01", "2025-11-25")] {
        let params =
            json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let result = ask(&lab, "initialize", params).await["result"].clone();
        assert_eq!((&result["protocolVersion"], &result["serverInfo"]["name"]), (&json!(spoken), &json!("tephra")));
        assert!(result["capabilities"]["tools"].is_object());
    }
    let initialized = send(&lab, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    assert_eq!((initialized.status, initialized.body.len()), (StatusCode::ACCEPTED, 0));
    assert_eq!(ask(&lab, "ping", Value::Null).await["result"], json!({}));
    let tools = ask(&lab, "tools/list", json!({})).await["result"]["tools"].clone();
    let names: Vec<&str> = tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["services", "top_functions", "diff", "alert", "growth", "trace"]);
    for tool in tools.as_array().unwrap() {
        assert_eq!(
            (&tool["inputSchema"]["type"], &tool["annotations"]["readOnlyHint"]),
            (&json!("object"), &json!(true))
        );
        let properties = tool["inputSchema"]["properties"].as_object().unwrap();
        for required in tool["inputSchema"]["required"].as_array().unwrap() {
            assert!(properties.contains_key(required.as_str().unwrap()), "{tool}");
        }
    }
    assert_eq!(lab.get("/mcp").await.status, StatusCode::METHOD_NOT_ALLOWED, "it streams nothing");
}

#[tokio::test]
async fn tools_answer_in_words_and_tables() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let (from, turn, until) = (turn_ms() - 300_000, turn_ms(), turn_ms() + 300_000);
    let (services, is_error) = tool(&lab, "services", json!({ "from": from, "until": until })).await;
    assert!(!is_error && services.contains("| checkout |") && services.contains("version=v1/v2"), "{services}");

    let query =
        json!({ "service": "checkout", "from": from, "until": turn, "labels": { "version": "v1" }, "limit": 2 });
    let (top, is_error) = tool(&lab, "top_functions", query).await;
    assert!(!is_error && top.starts_with("CPU of checkout, from "), "{top}");
    let folded = lab.get(&format!("/api/v1/flamegraph?service=checkout&from={from}&until={turn}&format=folded")).await;
    let render = folded
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("main;serve;checkout;receipt::render ").map(str::to_owned));
    let row = top.lines().find(|line| line.starts_with("| receipt::render |")).unwrap_or_else(|| panic!("{top}"));
    assert!(row.contains(&format!("| {} |", render.unwrap())), "exact: {row}");
    assert_eq!(top.lines().filter(|line| line.starts_with("| ")).count(), 3, "{top}");
    assert!(top.contains("other"), "{top}");

    let sides = json!({ "service": "checkout", "from": from, "until": until, "a": { "labels": { "version": "v1" } }, "b": { "labels": { "version": "v2" } } });
    let (diff, is_error) = tool(&lab, "diff", sides).await;
    assert!(!is_error && diff.contains("`tax::rate_for`"), "{diff}");
    let sides = json!({ "service": "checkout", "a": { "from": from, "until": turn }, "b": { "from": turn, "until": until }, "basis": "share" });
    assert!(tool(&lab, "diff", sides).await.0.contains("share"));

    let (alert, is_error) =
        tool(&lab, "alert", json!({ "service": "checkout", "at": until, "w": "5m", "vs": "prev" })).await;
    assert!(!is_error && alert.contains("rate_for") && alert.contains("Confidence: "), "{alert}");
    assert!(alert.contains("page: /alert?service=checkout"), "{alert}");
}

#[tokio::test]
async fn growth_and_traces_are_told_too() {
    let lab = Lab::new().await;
    let window = |i: u64| {
        let start = turn_ms() + i * 10_000;
        // A sampled block more in each.
        let kept: Vec<_> = (0..5 + i).map(|_| row("main;cache::insert", 512 << 10)).collect();
        TestWindow::new("cart", 1, i + 1, start)
            .inuse(&kept)
            .cpu(&[traced("main;work|er", 30, 7)])
            .span(7, "/pay", 20, 5_000)
    };
    lab.push((0..60).map(window)).await;
    let range = json!({ "service": "cart", "from": turn_ms(), "until": turn_ms() + 600_000 });
    let (growth, is_error) = tool(&lab, "growth", range).await;
    assert!(!is_error && growth.contains("| cache::insert |"), "{growth}");
    let (trace, is_error) = tool(&lab, "trace", json!({ "trace_id": "07".repeat(16) })).await;
    assert!(!is_error && trace.contains("## cart") && trace.contains("/pay took 5.0 ms"), "{trace}");
    assert!(trace.contains("\\|er itself"), "a name is in its place: {trace}");
}

#[tokio::test]
async fn a_wrong_question_is_answered_with_what_to_ask() {
    let lab = Lab::new().await;
    lab.push([TestWindow::new("a", 1, 1, turn_ms()).cpu(&[row("main", 1)])]).await;
    for (name, arguments, says) in [
        ("top_functions", json!({}), "\"service\" is missing"),
        ("top_functions", json!({ "service": "nobody" }), "nobody"),
        ("top_functions", json!({ "service": "a", "limit": 501 }), "limits 1 to 500"),
        ("top_functions", json!({ "service": "a", "labls": {} , "x": 1 }), "\"x\" is not known"),
        ("top_functions", json!({ "service": "a", "labels": { "No": "x" } }), "'N'"),
        ("top_functions", json!({ "service": ["a", "a"] }), "given twice"),
        ("top_functions", json!({ "service": true }), "\"service\" is no text"),
        ("top_functions", json!([1]), "by name"),
        ("diff", json!({ "service": "a", "a": { "b": { "c": { "d": { "e": 1 } } } } }), "is no text"),
        ("diff", json!({ "service": "a", "basis": "joules" }), "joules"),
        ("alert", json!({ "service": "a", "q": "x" }), "\"q\" is not known"),
        ("growth", json!({ "service": "a", "type": "cpu" }), "adds up over time"),
        ("trace", json!({ "trace_id": "12" }), "32 hexadecimal digits"),
        ("trace", json!({ "trace_id": "08".repeat(16) }), "nothing was received"),
    ] {
        let (text, is_error) = tool(&lab, name, arguments.clone()).await;
        assert!(is_error && text.contains(says), "{name} {arguments}: {text}");
    }
    for (method, params, code) in
        [("tools/call", json!({ "name": "rm" }), -32_602), ("resources/list", json!({}), -32_601)]
    {
        assert_eq!(ask(&lab, method, params).await["error"]["code"], code, "{method}");
    }
    let many = vec!["keep:x"; 3_000];
    let (text, is_error) = tool(&lab, "top_functions", json!({ "service": "a", "filter": many })).await;
    assert!(is_error, "{text}");
    let refused = lab.post("/mcp", "{").await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32_700)));
    let version = Request::post("/mcp").header("host", "localhost").header("mcp-protocol-version", "2024-11-05");
    let refused = lab.send(version.body(Body::from("{}")).unwrap()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text().contains("2025-06-18"), "{}", refused.text());
    let large = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(lab.post("/mcp", large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}
