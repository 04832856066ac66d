//! Every route carries the headers that keep a browser safe; data is never cached.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use super::Lab;

const ROUTES: [&str; 26] = [
    "/",
    "/s/checkout",
    "/s/shop/checkout",
    "/diff",
    "/trace/4bf92f3577b34da6a3ce929d0e0e4736",
    "/alert",
    "/alert?service=x",
    "/p/abc",
    "/status",
    "/assets/none.js",
    "/favicon.svg",
    "/api/v1/services",
    "/api/v1/profile-types?service=x",
    "/api/v1/labels?service=x",
    "/api/v1/labels/zone/values?service=x",
    "/api/v1/timeline?service=x",
    "/api/v1/flamegraph?service=x",
    "/api/v1/diff?service=x",
    "/api/v1/traces/xyz",
    "/api/v1/requests?service=x",
    "/api/v1/events",
    "/api/v1/pins/abc",
    "/api/v1/status",
    "/alert.json?service=x",
    "/metrics",
    "/no/such/thing",
];

#[tokio::test]
async fn a_mistyped_address_is_a_page_for_people_and_json_for_programs() {
    let lab = Lab::new().await;
    let ask = |path: &'static str, accept: &'static str| {
        let request = Request::get(path).header("host", "localhost").header(header::ACCEPT, accept);
        lab.send(request.body(Body::empty()).unwrap())
    };
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    let got = ask("/servises", browser).await;
    // Without a built view the page says how to build it.
    assert!([StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE].contains(&got.status), "{}", got.status);
    assert!(got.text().contains("<title>Tephra</title>"), "{}", got.text());
    for (path, accept) in [("/servises", "*/*"), ("/servises", "application/json"), ("/api/v1/servises", browser)] {
        let got = ask(path, accept).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{path} {accept}");
        assert!(got.text().contains("there is nothing at"), "{path} {accept}: {}", got.text());
    }
}

#[tokio::test]
async fn every_route_carries_the_headers() {
    let lab = Lab::new().await;
    for route in ROUTES {
        let got = lab.get(route).await;
        assert!(
            !got.status.is_redirection() && got.status != StatusCode::INTERNAL_SERVER_ERROR,
            "{route}: {}",
            got.text()
        );
        let text =
            |name: header::HeaderName| got.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert_eq!(text(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{route}");
        assert_eq!(text(header::REFERRER_POLICY), "no-referrer", "{route}");
        assert!(text(header::CONTENT_SECURITY_POLICY).contains("frame-ancestors 'none'"), "{route}");
        assert!(!got.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{route}");
        if route.starts_with("/api") || route.starts_with("/alert.json") || route == "/metrics" {
            assert_eq!(text(header::CACHE_CONTROL), "no-store", "{route}");
            assert!(text(header::CONTENT_TYPE).starts_with("application/json") || route == "/metrics", "{route}");
        }
    }
}

#[tokio::test]
async fn routes_are_not_for_other_methods_or_other_names() {
    let lab = Lab::new().await;
    let got = lab.post("/api/v1/services", "").await;
    assert_eq!((got.status, got.json()["code"].as_str()), (StatusCode::METHOD_NOT_ALLOWED, Some("method")));
    let stranger = Request::get("/api/v1/services").header("host", "evil.com").body(Body::empty()).unwrap();
    let got = lab.send(stranger).await;
    assert_eq!((got.status, got.json()["code"].as_str()), (StatusCode::FORBIDDEN, Some("forbidden")));
    let forged = Request::post("/api/v1/events").header("host", "localhost").header("sec-fetch-site", "cross-site");
    let got = lab.send(forged.body(Body::from(r#"{"kind":"note","service":"a","title":"x"}"#)).unwrap()).await;
    assert_eq!(got.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn attachments_are_sandboxed() {
    let lab = Lab::new().await;
    lab.push(super::regression("checkout")).await;
    let range = format!("from={}&until={}", super::turn_ms() - 300_000, super::turn_ms());
    for format in ["folded", "svg", "pprof", "speedscope"] {
        let got = lab.get(&format!("/api/v1/flamegraph?service=checkout&{range}&format={format}")).await;
        assert_eq!(got.status, StatusCode::OK, "{format}: {}", got.text());
        assert!(
            got.headers[header::CONTENT_DISPOSITION]
                .to_str()
                .unwrap()
                .starts_with("attachment; filename=\"checkout-cpu-")
        );
        assert!(got.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox"), "{format}");
    }
}

#[tokio::test]
async fn a_name_that_it_does_not_go_by_is_told_to_the_operator() {
    let lab = Lab::new().await;
    let ask = |path: &str, host: &str| Request::get(path).header("host", host).body(Body::empty()).unwrap();
    for host in ["127.0.0.1:4040", "tephra.internal"] {
        assert_eq!(lab.send(ask("/api/v1/services", host)).await.status, StatusCode::OK, "{host}");
    }
    for host in ["", "a b.example", "<script>.example", "evil.example/x"] {
        assert_eq!(lab.send(ask("/api/v1/services", host)).await.status, StatusCode::FORBIDDEN, "{host:?}");
    }
    lab.send(ask("/healthz", "probe.example.com")).await;
    assert_eq!(lab.store.conditions().all(), []);
    for path in ["/api/v1/services", "/tephra.v1.ProfileService/Push"] {
        assert_eq!(lab.send(ask(path, "Tephra.Example.com.:4040")).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let told = lab.json("/api/v1/status").await["conditions"].clone();
    assert_eq!((told[0]["kind"].as_str(), told[0]["severity"].as_str()), (Some("host_refused"), Some("notice")));
    assert!(told[0]["message"].as_str().unwrap().contains("`--host tephra.example.com`"), "{told}");
    assert_eq!(told.as_array().unwrap().len(), 1);
}
