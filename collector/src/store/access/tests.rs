//! Tokens and deeds, in both databases.

use super::*;
use crate::store::testing::TestPlace;

async fn catalog() -> (TestPlace, AccessCatalog) {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let catalog = AccessCatalog::beside(&place.place(), store.catalog()).await.unwrap();
    (place, catalog)
}

fn new(id: &str) -> NewToken {
    NewToken {
        id: id.to_owned(),
        digest: [7; 32],
        role: "push".to_owned(),
        tenant: "default".to_owned(),
        note: "ci".to_owned(),
        expires_ms: Some(9_000),
    }
}

#[tokio::test]
async fn a_token_is_in_force_until_it_is_revoked_and_is_remembered_afterwards() {
    let (place, catalog) = catalog().await;
    catalog.create_token(&new("a"), 1_000).await.unwrap();
    catalog.create_token(&NewToken { expires_ms: None, ..new("b") }, 2_000).await.unwrap();
    assert!(catalog.create_token(&new("a"), 3_000).await.is_err(), "an id is given once");
    // Whoever comes by another way sees the same.
    let other = AccessCatalog::open(&place.place()).await.unwrap();
    let ids = |tokens: Vec<GrantedToken>| tokens.into_iter().map(|token| token.id).collect::<Vec<_>>();
    assert_eq!(ids(other.tokens().await.unwrap()), ["b", "a"], "the newest first");
    assert!(other.revoke_token("a", 4_000).await.unwrap());
    assert!(!other.revoke_token("a", 5_000).await.unwrap() && !other.revoke_token("x' OR '1", 5_000).await.unwrap());
    other.close().await;
    assert_eq!(ids(catalog.tokens_in_force().await.unwrap()), ["b"]);
    let all = catalog.tokens().await.unwrap();
    assert_eq!((all[1].revoked_ms, all[1].expires_ms, all[0].expires_ms), (Some(4_000), Some(9_000), None));
    assert_eq!((all[1].digest, &*all[1].note, all[1].created_ms), ([7; 32], "ci", 1_000));
}

#[tokio::test]
async fn a_note_has_a_limit() {
    let (_place, catalog) = catalog().await;
    let long = NewToken { note: "x".repeat(121), ..new("a") };
    assert!(catalog.create_token(&long, 1).await.unwrap_err().to_string().contains("121 characters, and may have 120"));
}

#[tokio::test]
async fn the_latest_deeds_are_kept_and_told_latest_first() {
    let (_place, catalog) = catalog().await;
    let deed = |at_ms: u64| Deed {
        at_ms,
        who: "token a (ci)".to_owned(),
        address: "10.0.0.1".to_owned(),
        action: "DELETE /api/v1/services".to_owned(),
        subject: "'; DROP TABLE access_audit; --".to_owned(),
        outcome: "200".to_owned(),
        tenant: "default".to_owned(),
    };
    for at_ms in 1..=20 {
        catalog.note(&deed(at_ms)).await.unwrap();
    }
    catalog.trim_deeds(20).await.unwrap();
    assert_eq!(catalog.deeds(None, 100).await.unwrap().len(), 20);
    catalog.trim_deeds(5).await.unwrap();
    assert_eq!(catalog.deeds(None, 3).await.unwrap(), [20, 19, 18].map(deed));
    assert_eq!(catalog.deeds(None, 100).await.unwrap().len(), 5);
}

#[test]
fn a_file_that_holds_no_token_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    assert!(token_in(&file).unwrap_err().contains("No such file"));
    std::fs::write(&file, vec![b'x'; 5_000]).unwrap();
    assert!(token_in(&file).unwrap_err().contains("5000 bytes are no token"));
    std::fs::write(&file, "x\n").unwrap();
    assert_eq!(token_in(&file).unwrap(), "x\n");
}

#[tokio::test]
async fn tenants_have_tokens_limits_and_an_end() {
    let (_place, catalog) = catalog().await;
    let said = async |done: Result<(), TokenError>| done.unwrap_err().to_string();
    let theirs = |id: &str, tenant: &str| NewToken { tenant: tenant.to_owned(), ..new(id) };
    assert!(said(catalog.create_token(&theirs("a", "acme"), 1).await).await.contains("no tenant \"acme\""));
    catalog.create_tenant("acme", 1_000).await.unwrap();
    assert!(matches!(catalog.create_tenant("acme", 1_001).await, Err(TenantError::Exists(_))));
    catalog.create_tenant("initech", 1_000).await.unwrap();
    catalog.create_token(&theirs("a", "acme"), 1).await.unwrap();
    catalog.create_token(&theirs("b", "initech"), 2).await.unwrap();
    catalog.create_token(&new("c"), 3).await.unwrap();
    let limits = TenantLimits { retention_ms: Some(86_400_000), bytes_per_s: Some(1 << 20), series: None };
    catalog.limit_tenant("acme", limits).await.unwrap();
    for strange in ["nobody", "acme'; DROP TABLE access_tenants; --", "ACME", ""] {
        assert!(matches!(catalog.limit_tenant(strange, limits).await, Err(TenantError::Unknown(_))), "{strange}");
        assert!(matches!(catalog.delete_tenant(strange, 1).await, Err(TenantError::Unknown(_))), "{strange}");
    }
    let named = async |name: &str| catalog.tenants().await.unwrap().into_iter().find(|tenant| tenant.name == name);
    assert_eq!(named("acme").await.unwrap().limits, limits);
    catalog.delete_tenant("acme", 5_000).await.unwrap();
    let in_force: Vec<String> =
        catalog.tokens_in_force().await.unwrap().into_iter().map(|token| token.tenant).collect();
    assert_eq!((in_force.len(), in_force.iter().any(|tenant| tenant == "acme")), (2, false));
    assert_eq!(named("acme").await.unwrap().deleted_ms, Some(5_000));
    assert!(
        matches!(catalog.create_tenant("acme", 6_000).await, Err(TenantError::Leaving(_))),
        "its data may be there"
    );
    assert!(said(catalog.create_token(&theirs("d", "acme"), 7).await).await.contains("no tenant"));
    catalog.forget_tenant("initech").await.unwrap();
    assert!(named("initech").await.is_some(), "nobody is forgotten who is in use");
    catalog.forget_tenant("acme").await.unwrap();
    catalog.create_tenant("acme", 8_000).await.unwrap();
    assert_eq!(named("acme").await.unwrap().limits, TenantLimits::default(), "a new one");
}

#[tokio::test]
async fn deeds_are_told_to_whose_they_are() {
    let (_place, catalog) = catalog().await;
    for (at_ms, tenant) in [(1, "acme"), (2, "initech"), (3, "acme"), (4, "default")] {
        let word = || "x".to_owned();
        let (who, address, action, subject, outcome) = (word(), word(), word(), word(), word());
        let deed = Deed { at_ms, who, address, action, subject, outcome, tenant: tenant.to_owned() };
        catalog.note(&deed).await.unwrap();
    }
    let times = async |tenant: Option<&str>| -> Vec<u64> {
        catalog.deeds(tenant, 10).await.unwrap().iter().map(|deed| deed.at_ms).collect()
    };
    assert_eq!(times(Some("acme")).await, [3, 1]);
    assert_eq!(times(Some("nobody")).await, [0u64; 0]);
    assert_eq!(times(None).await, [4, 3, 2, 1]);
}
