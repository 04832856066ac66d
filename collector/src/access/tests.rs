//! Doors that ask, over stores of both kinds: whom they let in, for how long, and who waits.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::*;
use crate::store::access::NewToken;
use crate::store::testing::TestPlace;

struct Gate {
    place: TestPlace,
    catalog: AccessCatalog,
    conditions: Conditions,
}

impl Gate {
    async fn new() -> Self {
        let place = TestPlace::new().await;
        let store = place.open().await;
        let catalog = AccessCatalog::beside(&place.place(), store.catalog()).await.unwrap();
        Self { place, catalog, conditions: Conditions::default() }
    }

    async fn open(&self, options: AccessOptions) -> Access {
        Access::open(options, self.catalog.clone(), &self.conditions).await.unwrap()
    }

    async fn create(&self, role: &str, expires_ms: Option<u64>) -> Token {
        self.create_in("default", role, expires_ms).await
    }

    async fn create_in(&self, tenant: &str, role: &str, expires_ms: Option<u64>) -> Token {
        let token = Token::draw().unwrap();
        let new = NewToken {
            id: token.id().to_owned(),
            digest: token.digest(),
            role: role.to_owned(),
            tenant: tenant.to_owned(),
            note: "ci".to_owned(),
            expires_ms,
        };
        self.catalog.create_token(&new, now_ms()).await.unwrap();
        token
    }
}

fn asks(access: &Access, token: &Token, needs: Role) -> Result<Who, Refusal> {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {}", token.reveal()).parse().unwrap())]);
    access.admit(&headers, &"/".parse().unwrap(), Brought::default(), needs).map(|admitted| admitted.who)
}

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

const ON: AccessOptions = AccessOptions {
    required: true,
    bootstrap: None,
    bootstrap_file: None,
    certificates: Vec::new(),
    proxies: Proxies { networks: Vec::new(), group_roles: Vec::new() },
};

#[tokio::test]
async fn where_nobody_is_asked_everybody_may_do_everything() {
    let gate = Gate::new().await;
    let access = gate.open(AccessOptions::default()).await;
    assert!(!access.is_on());
    let anyone = access.admit(&HeaderMap::new(), &"/?token=x".parse().unwrap(), Brought::default(), Role::Admin);
    assert_eq!(anyone, Ok(Admitted { who: Who::anyone(), tenant: TenantName::default() }));
}

#[tokio::test]
async fn a_token_grants_its_role_until_it_ends() {
    let gate = Gate::new().await;
    let (push, read) = (gate.create("push", None).await, gate.create("read", Some(now_ms() + 3_600_000)).await);
    let (over, strange) = (gate.create("admin", Some(now_ms() - 1)).await, gate.create("root", None).await);
    let access = gate.open(ON).await;
    assert_eq!(asks(&access, &push, Role::Push).unwrap().name, format!("token {} (ci)", push.id()));
    assert_eq!(asks(&access, &push, Role::Read), Err(Refusal::Role { has: Role::Push, needs: Role::Read }));
    assert!(asks(&access, &read, Role::Read).is_ok());
    assert_eq!(asks(&access, &over, Role::Read), Err(Refusal::Expired));
    assert_eq!(asks(&access, &strange, Role::Push), Err(Refusal::Unknown), "a role of a later release");
    let stranger = Token::draw().unwrap();
    assert_eq!(asks(&access, &stranger, Role::Read), Err(Refusal::Unknown));
    let wrong = format!("{}.{}", read.id(), stranger.reveal().split_once('.').unwrap().1);
    assert_eq!(asks(&access, &Token::parse(&wrong).unwrap(), Role::Read), Err(Refusal::Unknown));
    assert_eq!(
        access.admit(&HeaderMap::new(), &"/".parse().unwrap(), Brought::default(), Role::Read),
        Err(Refusal::Missing)
    );
}

#[tokio::test]
async fn what_is_created_or_revoked_elsewhere_counts_once_it_is_read_again() {
    let gate = Gate::new().await;
    let access = gate.open(ON).await;
    let elsewhere = AccessCatalog::open(&gate.place.place()).await.unwrap();
    let token = gate.create("read", None).await;
    assert_eq!(asks(&access, &token, Role::Read), Err(Refusal::Unknown));
    access.read_again(&gate.conditions).await.unwrap();
    assert!(asks(&access, &token, Role::Read).is_ok());
    assert!(elsewhere.revoke_token(token.id(), now_ms()).await.unwrap());
    access.read_again(&gate.conditions).await.unwrap();
    assert_eq!(asks(&access, &token, Role::Read), Err(Refusal::Unknown));
    elsewhere.close().await;
}

#[tokio::test]
async fn a_bootstrap_token_may_do_everything_and_a_broken_file_leaves_the_last_in_force() {
    let gate = Gate::new().await;
    let file = gate.place.data().join("bootstrap");
    let (given, first, second) = (Token::draw().unwrap(), Token::draw().unwrap(), Token::draw().unwrap());
    let options = AccessOptions {
        bootstrap: Some(given.clone()),
        bootstrap_file: Some(file.clone()),
        ..AccessOptions::default()
    };
    assert!(options.is_on());
    let access = gate.open(options).await;
    assert!(asks(&access, &given, Role::Admin).is_ok());
    assert!(gate.conditions.all()[0].message.contains("No such file"), "{:?}", gate.conditions.all());

    std::fs::write(&file, first.reveal() + "\n").unwrap();
    access.read_again(&gate.conditions).await.unwrap();
    assert!(asks(&access, &first, Role::Admin).is_ok() && gate.conditions.all().is_empty());

    std::fs::write(&file, "half a tok").unwrap();
    access.read_again(&gate.conditions).await.unwrap();
    assert!(asks(&access, &first, Role::Admin).is_ok(), "the last good one");
    assert!(gate.conditions.all()[0].message.contains("`tephra token draw`"));

    std::fs::write(&file, second.reveal()).unwrap();
    access.read_again(&gate.conditions).await.unwrap();
    assert!(asks(&access, &second, Role::Admin).is_ok() && asks(&access, &first, Role::Read).is_err());
}

#[test]
fn each_refusal_is_counted_under_a_reason_of_its_own() {
    let role = Refusal::Role { has: Role::Push, needs: Role::Read };
    let all = [
        Refusal::Missing,
        Refusal::Unreadable,
        Refusal::InAddress,
        Refusal::Unknown,
        Refusal::Expired,
        role,
        Refusal::Unclear,
        Refusal::NoGroup,
        Refusal::OtherTenant,
        Refusal::NoTenant,
        Refusal::NoPage,
    ];
    assert_eq!(all.map(Refusal::reason), Refusal::REASONS);
}

#[tokio::test]
async fn only_what_may_be_a_guess_waits() {
    let gate = Gate::new().await;
    let access = gate.open(ON).await;
    let here = Some(IpAddr::from([10, 0, 0, 1]));
    let waits = |refusal: Refusal| (0..20).map(|_| access.wait_after(refusal, here)).max().unwrap();
    for honest in [Refusal::Missing, Refusal::Expired, Refusal::Role { has: Role::Push, needs: Role::Read }] {
        assert_eq!(waits(honest), Duration::ZERO, "{honest:?}");
    }
    assert!(waits(Refusal::Unknown) > Duration::ZERO);
}

fn grant(name: &str, role: Role, of: &str) -> NameGrant {
    NameGrant { name: name.to_owned(), role, tenant: tenant(of) }
}

#[tokio::test]
async fn a_certificate_grants_what_its_names_do_and_a_token_beside_it_counts_alone() {
    let gate = Gate::new().await;
    let token = gate.create("read", None).await;
    let certificates = [("dns:agents.example", Role::Push), ("cn:ops", Role::Admin), ("dns:ops.example", Role::Read)];
    let certificates: Vec<_> = certificates.map(|(name, role)| grant(name, role, "default")).into();
    let access = gate.open(AccessOptions { certificates, ..AccessOptions::default() }).await;
    assert!(access.is_on());
    let asks = |names: &[&str], needs: Role| {
        let certificate = PeerCertificate { names: names.iter().map(|name| (*name).to_owned()).collect() };
        access
            .admit(
                &HeaderMap::new(),
                &"/".parse().unwrap(),
                Brought { certificate: Some(&certificate), forwarded: None },
                needs,
            )
            .map(|admitted| admitted.who)
    };
    assert_eq!(asks(&["dns:agents.example"], Role::Push).unwrap().name, "certificate dns:agents.example");
    assert_eq!(asks(&["dns:agents.example"], Role::Read), Err(Refusal::Role { has: Role::Push, needs: Role::Read }));
    assert_eq!(asks(&["dns:ops.example", "cn:ops"], Role::Admin).unwrap().name, "certificate cn:ops");
    for stranger in [&[][..], &["cn:agents.example"], &["dns:ops"], &["dns:OPS.example"]] {
        assert_eq!(asks(stranger, Role::Push), Err(Refusal::Missing), "{stranger:?}");
    }
    let admin = PeerCertificate { names: ["cn:ops".to_owned()].into() };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {}", token.reveal()).parse().unwrap())]);
    let brought = Brought { certificate: Some(&admin), forwarded: None };
    let both = access.admit(&headers, &"/".parse().unwrap(), brought, Role::Admin);
    assert_eq!(both, Err(Refusal::Role { has: Role::Read, needs: Role::Admin }));
}

#[tokio::test]
async fn a_person_may_what_any_of_their_groups_may_and_a_token_beside_it_counts_alone() {
    let gate = Gate::new().await;
    let token = gate.create("read", None).await;
    let group_roles = [("agents", Role::Push), ("staff", Role::Read), ("ops", Role::Admin)];
    let proxies = Proxies {
        networks: vec![proxies::network("10.0.0.0/8").unwrap()],
        group_roles: group_roles.map(|(group, role)| (group.to_owned(), role)).into(),
    };
    let certificates = vec![grant("cn:proxy", Role::Admin, "default")];
    let options = AccessOptions { proxies, certificates, ..AccessOptions::default() };
    assert!(options.is_on(), "to trust a proxy is to ask");
    let access = gate.open(options).await;
    let proxy = PeerCertificate { names: ["cn:proxy".to_owned()].into() };
    let asks = |said: &[(&'static str, &str)], needs: Role| {
        let headers: HeaderMap =
            said.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let forwarded = access.forwarded([10, 0, 0, 1].into(), &headers);
        let brought = Brought { certificate: Some(&proxy), forwarded: forwarded.as_ref() };
        access.admit(&headers, &"/".parse().unwrap(), brought, needs).map(|admitted| admitted.who)
    };
    let (user, groups) = (|name| ("x-forwarded-user", name), |names| ("x-forwarded-groups", names));
    let alice = asks(&[user("alice"), groups("staff,ops")], Role::Admin).unwrap();
    assert_eq!((alice.name.as_str(), alice.is_ambient), ("person:alice", true));
    assert!(asks(&[user("bob"), groups("staff")], Role::Read).is_ok());
    let both = [user("carol"), groups("agents,staff")];
    assert!(asks(&both, Role::Read).is_ok() && asks(&both, Role::Push).is_ok());
    assert_eq!(asks(&both, Role::Write), Err(Refusal::Role { has: Role::Read, needs: Role::Write }));
    for nobody in [&[user("eve")][..], &[user("eve"), groups("strangers")]] {
        assert_eq!(asks(nobody, Role::Read), Err(Refusal::NoGroup));
    }
    assert!(!Refusal::NoGroup.asks_for_credentials() && Refusal::NoGroup.hint().contains("--group-role"));
    assert_eq!(asks(&[user("alice"), user("root"), groups("ops")], Role::Read), Err(Refusal::Unclear));
    assert_eq!(asks(&[], Role::Read), Err(Refusal::Missing), "the proxy's own certificate is not everybody's");
    let bearer = format!("Bearer {}", token.reveal());
    let beside = asks(&[user("alice"), groups("ops"), ("authorization", &bearer)], Role::Admin);
    assert_eq!(beside, Err(Refusal::Role { has: Role::Read, needs: Role::Admin }));
}

#[tokio::test]
async fn everybody_is_let_in_to_their_own_tenant_and_to_no_other() {
    let gate = Gate::new().await;
    for name in ["acme", "initech"] {
        gate.catalog.create_tenant(name, 1).await.unwrap();
    }
    let (acme, ours) = (gate.create_in("acme", "admin", None).await, gate.create("admin", None).await);
    let proxies = Proxies {
        networks: vec![proxies::network("10.0.0.0/8").unwrap()],
        group_roles: vec![("staff".to_owned(), Role::Read)],
    };
    let certificates = vec![grant("cn:acme", Role::Push, "acme"), grant("cn:gone", Role::Push, "nobody")];
    let access = gate.open(AccessOptions { proxies, certificates, ..AccessOptions::default() }).await;
    let asks = |peer: [u8; 4], name: Option<&str>, said: &[(&'static str, &str)], needs: Role| {
        let certificate = name.map(|name| PeerCertificate { names: [name.to_owned()].into() });
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(*name, value.parse().unwrap());
        }
        let forwarded = access.forwarded(peer.into(), &headers);
        let brought = Brought { certificate: certificate.as_ref(), forwarded: forwarded.as_ref() };
        let admitted = access.admit(&headers, &"/".parse().unwrap(), brought, needs);
        admitted.map(|admitted| admitted.tenant.to_string())
    };
    let (anywhere, proxy) = ([192, 0, 2, 1], [10, 0, 0, 1]);
    let scope = |name| ("x-scope-orgid", name);
    let (acmes, defaults) = (format!("Bearer {}", acme.reveal()), format!("Bearer {}", ours.reveal()));
    for peer in [anywhere, proxy] {
        let by_token = |token: &str, said: &[(&'static str, &str)]| {
            asks(peer, None, &[&[("authorization", token)], said].concat(), Role::Admin)
        };
        assert_eq!(by_token(&acmes, &[]), Ok("acme".to_owned()));
        assert_eq!(by_token(&acmes, &[scope("acme")]), Ok("acme".to_owned()));
        assert_eq!(by_token(&defaults, &[]), Ok("default".to_owned()));
        for other in ["initech", "default", "nobody", "", "../initech"] {
            assert_eq!(by_token(&acmes, &[scope(other)]), Err(Refusal::OtherTenant), "{other:?}");
        }
        assert_eq!(by_token(&defaults, &[scope("acme")]), Err(Refusal::OtherTenant), "not even the default's admin");
    }
    assert_eq!(asks(anywhere, Some("cn:acme"), &[], Role::Push), Ok("acme".to_owned()));
    assert_eq!(asks(anywhere, Some("cn:acme"), &[scope("initech")], Role::Push), Err(Refusal::OtherTenant));
    assert_eq!(asks(anywhere, Some("cn:gone"), &[], Role::Push), Err(Refusal::NoTenant));
    let person = |said: &[(&'static str, &str)]| {
        let alice = [("x-forwarded-user", "alice"), ("x-forwarded-groups", "staff")];
        asks(proxy, None, &[&alice[..], said].concat(), Role::Read)
    };
    assert_eq!(person(&[]), Ok("default".to_owned()));
    assert_eq!(person(&[scope("initech")]), Ok("initech".to_owned()));
    assert_eq!(person(&[scope("nobody")]), Err(Refusal::NoTenant));
    assert_eq!(person(&[scope("acme"), scope("initech")]), Err(Refusal::Unclear));
    // What no proxy says is nobody's word.
    assert_eq!(
        asks(anywhere, None, &[("x-forwarded-user", "alice"), scope("acme")], Role::Read),
        Err(Refusal::Missing)
    );

    gate.catalog.delete_tenant("acme", 2).await.unwrap();
    access.read_again(&gate.conditions).await.unwrap();
    assert_eq!(asks(anywhere, None, &[("authorization", &acmes)], Role::Read), Err(Refusal::Unknown));
    assert_eq!(asks(anywhere, Some("cn:acme"), &[], Role::Push), Err(Refusal::NoTenant));
    assert_eq!(access.tenants().deleted, [tenant("acme")]);
}
