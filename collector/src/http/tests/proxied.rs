//! Behind a proxy that logs people in: who is believed, for what, and that nobody else is.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::Got;
use super::strangers::Asking;
use crate::access::AccessOptions;
use crate::access::proxies::{Proxies, network};
use crate::access::role::Role;

const PROXY: [u8; 4] = [10, 0, 0, 1];
const STRANGER: [u8; 4] = [192, 0, 2, 66];

async fn behind_a_proxy() -> Asking {
    let group_roles = vec![("staff".to_owned(), Role::Read), ("ops".to_owned(), Role::Admin)];
    let proxies = Proxies { networks: vec![network("10.0.0.0/8").unwrap()], group_roles };
    Asking::with(AccessOptions { proxies, ..AccessOptions::default() }).await
}

const ALICE: [(&str, &str); 3] =
    [("x-forwarded-user", "alice"), ("x-forwarded-groups", "ops"), ("x-forwarded-for", "203.0.113.5")];

const READ: &str = "/api/v1/services";
const DELETE: &str = "/api/v1/services?service=checkout";

#[tokio::test]
async fn people_are_let_in_by_their_groups_and_others_are_told_why_not() {
    let asking = behind_a_proxy().await;
    let get = async |said: &[(&str, &str)]| asking.ask_from(PROXY, &Method::GET, READ, said).await;
    assert_eq!(get(&ALICE).await.status, StatusCode::OK);
    assert_eq!(
        get(&[("x-forwarded-email", "b@x.example"), ("x-forwarded-groups", "staff")]).await.status,
        StatusCode::OK
    );
    let outsider = get(&[("x-forwarded-user", "eve"), ("x-forwarded-groups", "sales")]).await;
    assert_eq!(outsider.status, StatusCode::FORBIDDEN);
    assert!(
        outsider.text().contains("none of your groups") && outsider.text().contains("--group-role"),
        "{}",
        outsider.text()
    );
    assert_eq!(get(&[]).await.status, StatusCode::UNAUTHORIZED, "the proxy itself is nobody");
    let twice = get(&[ALICE[0], ("x-forwarded-user", "root"), ALICE[1]]).await;
    assert_eq!(twice.status, StatusCode::FORBIDDEN);
    assert!(twice.text().contains("twice"), "{}", twice.text());
    let smuggled = get(&[("x_forwarded_user", "alice"), ("x_forwarded_groups", "ops")]).await;
    assert_eq!(smuggled.status, StatusCode::UNAUTHORIZED);
    // Agents behind the same proxy bring what they always bring.
    assert_eq!(get(&[("authorization", &asking.token(Role::Read))]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_a_stranger_says_in_a_proxy_s_words_is_not_heard() {
    let asking = behind_a_proxy().await;
    let get = async |peer, said: &[(&str, &str)]| asking.ask_from(peer, &Method::GET, READ, said).await;
    assert_eq!(get(STRANGER, &ALICE).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get([127, 0, 0, 1], &ALICE).await.status, StatusCode::UNAUTHORIZED, "not even on this machine");
    let reader = asking.token(Role::Read);
    let said = [&ALICE[..], &[("authorization", &reader)]].concat();
    assert_eq!(get(STRANGER, &said).await.status, StatusCode::OK, "and it takes nothing from who has a token");
    let delete = asking.ask_from(STRANGER, &Method::DELETE, DELETE, &said).await;
    assert_eq!(delete.status, StatusCode::FORBIDDEN);
    let admin = asking.token(Role::Admin);
    let said = [("authorization", admin.as_str()), ALICE[2]];
    asking.ask_from(STRANGER, &Method::DELETE, DELETE, &said).await;
    let deeds = asking.ask_from(STRANGER, &Method::GET, "/api/v1/audit", &said).await.json();
    assert!(deeds["deeds"].as_array().unwrap().iter().all(|deed| deed["address"] == "192.0.2.66"), "{deeds:#}");
}

#[tokio::test]
async fn the_audit_trail_says_which_person_did_it_and_from_where() {
    let asking = behind_a_proxy().await;
    let own_page = [&ALICE[..], &[("origin", "http://localhost")]].concat();
    let deleted = asking.ask_from(PROXY, &Method::DELETE, DELETE, &own_page).await;
    let bob =
        [("x-forwarded-user", "bob"), ("x-forwarded-groups", "staff"), ("x-forwarded-for", "203.0.113.6, 10.1.1.1")];
    let bob = [&bob[..], &[("origin", "http://localhost")]].concat();
    assert_eq!(asking.ask_from(PROXY, &Method::DELETE, DELETE, &bob).await.status, StatusCode::FORBIDDEN);
    let got = asking.ask_from(PROXY, &Method::GET, "/api/v1/audit", &ALICE).await.json();
    let of = |who: &str| got["deeds"].as_array().unwrap().iter().find(|deed| deed["who"] == who).cloned().unwrap();
    let (alice, bob) = (of("person:alice"), of("person:bob"));
    assert_eq!((&alice["address"], &alice["outcome"]), (&json!("203.0.113.5"), &json!(deleted.status.as_str())));
    assert_eq!((&bob["address"], &bob["outcome"]), (&json!("203.0.113.6"), &json!("refused")));
}

#[tokio::test]
async fn another_site_s_page_cannot_use_who_the_proxy_has_logged_in() {
    let asking = behind_a_proxy().await;
    let delete = async |page: &[(&str, &str)]| {
        let said = [&ALICE[..], &[("host", "localhost:4040")], page].concat();
        asking.ask_from(PROXY, &Method::DELETE, DELETE, &said).await
    };
    let refused = |got: &Got| got.status == StatusCode::FORBIDDEN;
    let own: [&[(&str, &str)]; 4] = [
        &[("origin", "http://localhost:4040")],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://localhost:4040"), ("x-forwarded-proto", "https")],
        &[("origin", "https://localhost:4040"), ("x-forwarded-proto", "https")],
    ];
    for page in own {
        let got = delete(page).await;
        assert!(!refused(&got), "{page:?}: {}", got.text());
    }
    let other: [&[(&str, &str)]; 7] = [
        &[],
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:4040")],
        &[("origin", "http://localhost:4040"), ("x-forwarded-proto", "https")],
    ];
    for page in other {
        assert!(refused(&delete(page).await), "{page:?}");
    }
    let nothing = delete(&[]).await;
    assert!(nothing.text().contains("does not say which page"), "{}", nothing.text());
    assert_eq!(asking.ask_from(PROXY, &Method::GET, READ, &ALICE).await.status, StatusCode::OK, "reading needs none");
    // Somebody who brings a token is no browser that was tricked.
    let admin = asking.token(Role::Admin);
    let got = asking.ask_from(PROXY, &Method::DELETE, DELETE, &[("authorization", &admin)]).await;
    assert!(!refused(&got), "{}", got.text());
}

#[tokio::test]
async fn guesses_through_a_proxy_are_slowed_by_where_they_come_from() {
    let asking = behind_a_proxy().await;
    tokio::time::pause();
    let guess = async |from: &str| {
        let begun = tokio::time::Instant::now();
        let said = [("authorization", "Bearer 0123456789abcdef.x"), ("x-forwarded-for", from)];
        let got = asking.ask_from(PROXY, &Method::GET, READ, &said).await;
        assert_eq!(got.status, StatusCode::UNAUTHORIZED);
        begun.elapsed()
    };
    for _ in 0..20 {
        guess("203.0.113.7").await;
    }
    assert!(guess("203.0.113.7").await >= std::time::Duration::from_secs(1));
    assert!(guess("203.0.113.8").await < std::time::Duration::from_millis(50), "somebody else does not wait");
}
