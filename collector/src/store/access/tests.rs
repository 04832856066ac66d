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
    };
    for at_ms in 1..=20 {
        catalog.note(&deed(at_ms)).await.unwrap();
    }
    catalog.trim_deeds(20).await.unwrap();
    assert_eq!(catalog.deeds(100).await.unwrap().len(), 20);
    catalog.trim_deeds(5).await.unwrap();
    assert_eq!(catalog.deeds(3).await.unwrap(), [20, 19, 18].map(deed));
    assert_eq!(catalog.deeds(100).await.unwrap().len(), 5);
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
