//! Where people are asked who they are: every path, every role, and what is written down.

use axum::body::Body;
use axum::http::{HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::{Got, Lab};
use crate::access::role::Role;
use crate::access::token::Token;
use crate::access::{Access, AccessOptions};
use crate::http::permissions::{self, Need};
use crate::http::route::Route;
use crate::http::{AppState, router, routes};
use crate::ingest::Peer;
use crate::store::access::{AccessCatalog, NewToken};

/// A collector that knows a token of each role.
pub(super) struct Asking {
    pub(super) lab: Lab,
    app: axum::Router,
    tokens: Vec<(Token, Role)>,
}

impl Asking {
    async fn new() -> Self {
        Self::with(AccessOptions { required: true, ..AccessOptions::default() }).await
    }

    pub(super) async fn with(options: AccessOptions) -> Self {
        let mut lab = Lab::new().await;
        let catalog = AccessCatalog::beside(&lab.place.place(), lab.store.catalog()).await.unwrap();
        let mut tokens = Vec::new();
        for role in Role::ALL {
            let token = Token::draw().unwrap();
            let new = NewToken {
                id: token.id().to_owned(),
                digest: token.digest(),
                role: role.as_str().to_owned(),
                tenant: "default".to_owned(),
                note: String::new(),
                expires_ms: None,
            };
            catalog.create_token(&new, 1).await.unwrap();
            tokens.push((token, role));
        }
        let access = Access::open(options, catalog, lab.store.conditions()).await.unwrap();
        let state = &lab.state;
        let (engine, symbols) = (state.engine.clone(), state.symbols.clone());
        lab.state = AppState::new(lab.store.clone(), engine, symbols, lab.ingest.clone(), [], access);
        let app = router(lab.state.clone());
        Self { lab, app, tokens }
    }

    pub(super) fn token(&self, role: Role) -> String {
        let (token, _) = self.tokens.iter().find(|(_, has)| *has == role).unwrap();
        format!("Bearer {}", token.reveal())
    }

    async fn ask(&self, method: &Method, path: &str, said: &[(&str, &str)]) -> Got {
        self.ask_from([127, 0, 0, 1], method, path, said).await
    }

    pub(super) async fn ask_from(&self, peer: [u8; 4], method: &Method, path: &str, said: &[(&str, &str)]) -> Got {
        let mut request =
            Request::builder().method(method).uri(path).extension(Peer(peer.into())).body(Body::empty()).unwrap();
        let host = Some(&("host", "localhost")).filter(|_| said.iter().all(|(name, _)| *name != "host"));
        for (name, value) in host.into_iter().chain(said) {
            request.headers_mut().append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let (parts, body) = self.app.clone().oneshot(request).await.unwrap().into_parts();
        Got { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }
}

fn example(route: &Route) -> String {
    let parts: Vec<&str> = route.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
    parts.join("/")
}

#[tokio::test]
async fn every_path_has_a_row_in_the_table_and_lets_in_who_may_and_nobody_else() {
    let asking = Asking::new().await;
    let mut seen = 0;
    for route in routes::all(&asking.lab.state) {
        let methods: Vec<Method> = route.methods.clone();
        for method in methods {
            seen += 1;
            let row =
                permissions::of(&method, route.path).unwrap_or_else(|| panic!("{method} {} has no row", route.path));
            let content_type = if route.is_call() { "application/grpc" } else { "application/json" };
            let refused = |got: &Got| {
                let call = Status::from_header_map(&got.headers).map(|status| status.code());
                matches!(call, Some(Code::Unauthenticated | Code::PermissionDenied))
                    || matches!(got.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            };
            let path = example(&route);
            let got = asking.ask(&method, &path, &[("content-type", content_type)]).await;
            assert_eq!(refused(&got), row.need != Need::Nothing, "{method} {path}: {}", got.text());
            let Need::Role(needs) = row.need else { continue };
            for role in Role::ALL {
                let token = asking.token(role);
                let got =
                    asking.ask(&method, &path, &[("content-type", content_type), ("authorization", &token)]).await;
                assert_eq!(
                    refused(&got),
                    !role.may(needs),
                    "{method} {path} by {role:?}: {} {}",
                    got.status,
                    got.text()
                );
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

#[tokio::test]
async fn a_refusal_is_in_the_words_of_who_asks() {
    let asking = Asking::new().await;
    let get = Method::GET;
    let script = asking.ask(&get, "/api/v1/services", &[("accept", "application/json")]).await;
    assert_eq!(script.status, StatusCode::UNAUTHORIZED);
    assert_eq!(script.headers["www-authenticate"], "Bearer realm=\"tephra\"");
    assert_eq!(script.json()["code"], "unauthenticated");
    assert!(script.json()["hint"].as_str().unwrap().contains("tephra token create"));
    for path in ["/tephra.v1.ProfileService/Push", "/push.v1.PusherService/Push"] {
        let call = asking.ask(&Method::POST, path, &[("content-type", "application/grpc")]).await;
        let status = Status::from_header_map(&call.headers).map(|status| status.code());
        assert_eq!((call.status, status), (StatusCode::OK, Some(Code::Unauthenticated)), "{path}");
    }
    let page =
        asking.ask(&get, "/alert?service=x", &[("accept", "text/html,*/*"), ("sec-fetch-mode", "navigate")]).await;
    assert!(page.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "), "a browser asks for it");
    assert_eq!(
        (page.status, &page.headers["content-type"]),
        (StatusCode::UNAUTHORIZED, &"text/html; charset=utf-8".parse().unwrap())
    );
    let text = page.text();
    for words in ["<h1>Who are you?</h1>", "asks who you are", "<code>tephra token create</code> makes one", "password"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("<script"), "{text}");
    let pusher = asking.token(Role::Push);
    let weak = asking.ask(&get, "/", &[("accept", "text/html"), ("authorization", &pusher)]).await;
    assert_eq!(weak.status, StatusCode::FORBIDDEN);
    assert!(
        weak.text().contains("<h1>You may not do this</h1>") && weak.text().contains("needs read"),
        "{}",
        weak.text()
    );
    let by_script = asking.ask(&get, "/", &[("accept", "text/html"), ("sec-fetch-mode", "cors")]).await;
    assert!(by_script.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer "));
    let reader = asking.token(Role::Read);
    let weak = asking.ask(&Method::DELETE, "/api/v1/services?service=x", &[("authorization", &reader)]).await;
    assert_eq!(
        (weak.status, &weak.json()["message"]),
        (StatusCode::FORBIDDEN, &json!("the role read may not do this: it needs admin"))
    );
    let in_address =
        asking.ask(&get, &format!("/api/v1/services?token={}", &reader[7..]), &[("authorization", &reader)]).await;
    assert_eq!(in_address.status, StatusCode::FORBIDDEN);
    assert!(!in_address.text().contains(&reader[7..]), "it is not repeated");
}

#[tokio::test]
async fn another_site_s_page_cannot_use_who_is_logged_in() {
    let asking = Asking::new().await;
    let admin = asking.token(Role::Admin);
    for strange in [("origin", "http://evil.com"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let said = [("authorization", admin.as_str()), strange];
        let got = asking.ask(&Method::DELETE, "/api/v1/services?service=x", &said).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{strange:?}");
        assert!(got.text().contains("another site"), "{}", got.text());
    }
    for host in ["tephra", "printer.local", "x.internal"] {
        let got = asking.ask(&Method::GET, "/", &[("authorization", &admin), ("host", host)]).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{host}");
    }
}

#[tokio::test]
async fn what_cannot_be_undone_is_written_down_with_who_did_it() {
    let asking = Asking::new().await;
    let (admin, writer) = (asking.token(Role::Admin), asking.token(Role::Write));
    let path = "/api/v1/services?service=check%0Aout";
    assert_eq!(asking.ask(&Method::DELETE, path, &[("authorization", &writer)]).await.status, StatusCode::FORBIDDEN);
    let done = asking.ask(&Method::DELETE, "/api/v1/services?service=checkout", &[("authorization", &admin)]).await;
    let got = asking.ask(&Method::GET, "/api/v1/audit", &[("authorization", &admin)]).await.json();
    let deeds = got["deeds"].as_array().unwrap();
    let of = |outcome: &str| deeds.iter().find(|deed| deed["outcome"] == outcome).unwrap_or_else(|| panic!("{got:#}"));
    let (refused, allowed) = (of("refused"), of(done.status.as_str()));
    assert_eq!((&refused["who"], &refused["subject"]), (&json!("a token of role write"), &json!(path)));
    assert_eq!(allowed["action"], "DELETE /api/v1/services");
    assert_eq!(allowed["subject"], "/api/v1/services?service=checkout");
    assert!(allowed["who"].as_str().unwrap().starts_with(&admin[..23].replace("Bearer ", "token ")), "{allowed}");
    assert!(!got.to_string().contains(&admin[24..]), "no secret stands in it");
    for (limit, status) in [("0", 400), ("10001", 400), ("x", 400), ("1", 200)] {
        let got = asking.ask(&Method::GET, &format!("/api/v1/audit?limit={limit}"), &[("authorization", &admin)]).await;
        assert_eq!(got.status.as_u16(), status, "{limit}");
    }
}

#[tokio::test]
async fn whoever_may_not_read_is_not_told_why_it_is_not_ready() {
    let asking = Asking::new().await;
    let conditions = asking.lab.store.conditions();
    conditions.begin("stopping", "", crate::conditions::Severity::Unready, "the bucket s3://secret does not answer");
    let got = asking.ask(&Method::GET, "/readyz", &[]).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!got.text().contains("secret"), "{}", got.text());
}
