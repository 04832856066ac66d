//! Pictures of pages: what a chat shows of a link.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use super::strangers::Asking;
use super::{Got, Lab, regression, turn_ms};
use crate::access::AccessOptions;
use crate::access::role::Role;
use crate::base::certificate::Encrypted;
use crate::ingest::testing::{TestWindow, row};
use crate::urls::encode;

fn comparison() -> String {
    let (from, turn, until) = (turn_ms() - 300_000, turn_ms(), turn_ms() + 300_000);
    format!("/diff?service=checkout&a.from={from}&a.until={turn}&b.from={turn}&b.until={until}")
}

fn of_service(service: &str) -> String {
    format!("/s/{service}?v=1&from={}&until={}&q=tax&t=keep:main", turn_ms() - 300_000, turn_ms() + 300_000)
}

fn card(page: &str) -> String {
    format!("/og.png?page={}", encode(page))
}

fn is_picture(got: &Got, page: &str) {
    assert_eq!(got.status, StatusCode::OK, "{page}: {}", got.text());
    assert_eq!(got.headers["content-type"], "image/png", "{page}");
    // Width and height: 1200 × 630.
    assert_eq!(got.body.get(16..24), Some(&[0, 0, 4, 0xb0, 0, 0, 2, 0x76][..]), "{page}");
    assert!(got.body.len() < 150_000, "{page}: {} bytes", got.body.len());
}

#[tokio::test]
async fn every_page_has_a_picture_and_says_where_it_is() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let pin = lab.post("/api/v1/pins", format!(r#"{{"url":"{}"}}"#, of_service("checkout"))).await.json();
    let pages = [
        "/".to_owned(),
        "/status".to_owned(),
        "/diff".to_owned(),
        "/trace/4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
        of_service("checkout"),
        comparison(),
        format!("/alert?service=checkout&at={}&w=5m", turn_ms() + 300_000),
        format!("/p/{}", pin["id"].as_str().unwrap()),
        "/p/none".to_owned(),
    ];
    for page in pages {
        let got = lab.get(&card(&page)).await;
        is_picture(&got, &page);
        let again = lab.get(&card(&page)).await;
        assert_eq!(again.body, got.body, "{page}");
        let unchanged = lab.get_unless(&card(&page), &got.headers["etag"]).await;
        assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED, "{page}");
        let html = lab.get(&page).await.text();
        let image = format!("<meta property=\"og:image\" content=\"http://localhost{}\">", card(&page));
        assert!(html.contains(&image), "{page}: {html}");
        assert!(html.contains("<meta property=\"og:image:width\" content=\"1200\">"), "{page}: {html}");
    }
    let (whole, pinned) = (lab.get(&card(&of_service("checkout"))).await, lab.get(&card("/p/none")).await);
    assert!(whole.body.len() > pinned.body.len(), "a graph is more than words");
}

#[tokio::test]
async fn the_address_of_a_picture_is_whole_and_as_the_page_was_asked_for() {
    let lab = Lab::new().await;
    let mut request = Request::get("/status").header("host", "tephra.internal:4040").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Encrypted);
    let html = lab.send(request).await.text();
    assert!(html.contains("content=\"https://tephra.internal:4040/og.png?page=/status\""), "{html}");
    let long = format!("/status?x={}", "x".repeat(3_000));
    assert!(!lab.get(&long).await.text().contains("og:image"), "chats cut such links");
}

#[tokio::test]
async fn what_is_no_page_is_refused() {
    let lab = Lab::new().await;
    for (page, status) in [
        ("/s/%3Cimg%3E".to_owned(), StatusCode::BAD_REQUEST),
        ("/s/checkout?from=soon".to_owned(), StatusCode::BAD_REQUEST),
        ("/alert?at=now".to_owned(), StatusCode::BAD_REQUEST),
        ("x".repeat(9_000), StatusCode::BAD_REQUEST),
        (String::new(), StatusCode::BAD_REQUEST),
        ("/s/nobody".to_owned(), StatusCode::NOT_FOUND),
    ] {
        let got = lab.get(&card(&page)).await;
        assert_eq!(got.status, status, "{page}: {}", got.text());
    }
    assert_eq!(lab.get("/og.png?page=%2F&size=9000").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn names_from_strangers_are_drawn_and_nothing_else_comes_of_them() {
    let lab = Lab::new().await;
    let long = format!("{}::f", "x".repeat(3_000));
    let deep = (0..400).map(|i| format!("d{i}")).collect::<Vec<_>>().join(";");
    let mut rows = vec![
        row(&format!("main;<svg onload=alert(1)>;{long}"), 1_000_000),
        row("main;\u{202e}gpj.exe;日本語::名前", 1_000_000),
        row(&format!("main;{deep}"), 1_000_000),
    ];
    rows.extend((0..2_000).map(|i| row(&format!("main;wide;w{i}"), 1_000_000)));
    let windows = (0..20u64).map(|i| {
        TestWindow::new("checkout", 1, i + 1, turn_ms() - 100_000 + i * 10_000)
            .label("version", "\u{3b2}<b>")
            .cpu(&rows)
    });
    lab.push(windows).await;
    let turn = turn_ms();
    let split = format!(
        "/diff?service=checkout&a.from={}&a.until={turn}&b.from={turn}&b.until={}",
        turn - 100_000,
        turn + 100_000
    );
    for page in [of_service("checkout"), format!("{}&fw=shown", of_service("checkout")), split] {
        is_picture(&lab.get(&card(&page)).await, &page);
    }
}

#[tokio::test]
async fn what_was_deleted_is_not_drawn_from_memory() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    is_picture(&lab.get(&card(&of_service("checkout"))).await, "before");
    let delete = Request::delete("/api/v1/services?service=checkout").header("host", "localhost");
    assert_eq!(lab.send(delete.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
    let after = lab.get(&card(&of_service("checkout"))).await;
    assert_eq!(after.status, StatusCode::NOT_FOUND, "{}", after.text());
}

#[tokio::test]
async fn where_people_are_asked_who_they_are_pages_name_no_picture_and_none_is_given_away() {
    let asking = Asking::with(AccessOptions { required: true, ..AccessOptions::default() }).await;
    asking.lab.push(regression("checkout")).await;
    let page = of_service("checkout");
    let ask = async |path: &str, said: &[(&str, &str)]| asking.ask_from([127, 0, 0, 1], &Method::GET, path, said).await;
    assert_eq!(ask(&card(&page), &[]).await.status, StatusCode::UNAUTHORIZED);
    let reader = asking.token(Role::Read);
    let html = ask(&page, &[("authorization", &reader)]).await.text();
    assert!(html.contains("og:title") && !html.contains("og:image"), "{html}");
    is_picture(&ask(&card(&page), &[("authorization", &reader)]).await, &page);
}
