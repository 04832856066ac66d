//! Who may do what: the door's questions, answered from memory.
//!
//! | module | what it is |
//! |---|---|
//! | [`role`] | what somebody may do, in four words |
//! | [`token`] | `id.secret`: drawn, read, and known again by a digest |
//! | [`credentials`] | what a request brings |
//! | [`proxies`] | what a proxy that is believed says of a request: from where it comes, and who asks |
//! | `scope` | which tenant somebody is let in to |
//! | `failures` | who guesses waits |
//!
//! What is granted is kept in the access catalog ([`crate::store::access`]) and read again every [`READ_AGAIN`]: so a token that was created or
//! revoked anywhere, by whatever process, counts everywhere within seconds.

pub mod credentials;
mod failures;
pub mod proxies;
pub mod role;
mod scope;
#[cfg(test)]
mod tests;
pub mod token;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, Uri};
use tracing::{error, info};

use crate::base::certificate::PeerCertificate;
use crate::base::clock::now_ms;
use crate::base::tenant::TenantName;
use crate::conditions::{Conditions, Severity};
use crate::store::access::{AccessCatalog, Deed, GrantedToken, Tenant, TenantLimits, token_in};
use crate::store::catalog::CatalogError;
use credentials::Credentials;
use failures::Failures;
use proxies::{Forwarded, Person, Proxies};
use role::Role;
use token::{SecretDigest, Token};

/// How often what is granted is read again.
pub const READ_AGAIN: Duration = Duration::from_secs(2);

/// The condition while it cannot be.
const NOT_READ: &str = "tokens_not_read";

/// The condition while the file with the bootstrap token is broken.
const BOOTSTRAP_NOT_READ: &str = "bootstrap_token_not_read";

/// Whether credentials are asked for, and of whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessOptions {
    /// Only whoever is known may do anything.
    pub required: bool,
    /// A token that may do everything and stands in no catalog, for a first start.
    pub bootstrap: Option<Token>,
    /// A file with one, read again when it changes.
    pub bootstrap_file: Option<PathBuf>,
    /// What names in certificates of clients grant, such as `dns:agents.example`.
    pub certificates: Vec<NameGrant>,
    /// Whose word on who asks is taken.
    pub proxies: Proxies,
}

impl AccessOptions {
    /// Whether anything is asked for.
    pub fn is_on(&self) -> bool {
        let bootstraps = self.bootstrap.is_some() || self.bootstrap_file.is_some();
        self.required || bootstraps || !self.certificates.is_empty() || self.proxies.is_on()
    }
}

/// What a name in a certificate grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameGrant {
    /// The name, with its kind.
    pub name: String,
    /// What whoever has it may do.
    pub role: Role,
    /// Where.
    pub tenant: TenantName,
}

/// Who is let in to do what. Cheap to clone. The default asks nobody for anything.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `None`: everybody may do everything.
    known: Option<Arc<Known>>,
    /// Where deeds are written down.
    catalog: Option<AccessCatalog>,
    /// Whose deeds are told; `None`: everybody's.
    only: Option<TenantName>,
}

/// Who is known.
#[derive(Debug, Default)]
struct Known {
    tokens: RwLock<HashMap<String, Grant>>,
    tenants: RwLock<Tenants>,
    failures: Failures,
    /// Always granted, beside what the catalog says.
    bootstrap: Option<Token>,
    bootstrap_file: Option<PathBuf>,
    /// The last good one of the file.
    from_file: RwLock<Option<Token>>,
    certificates: Vec<NameGrant>,
    proxies: Proxies,
}

/// The tenants there are, beside the default one.
#[derive(Debug, Clone, Default)]
pub struct Tenants {
    /// Those who may be let in, and how much each may use.
    pub living: HashMap<TenantName, TenantLimits>,
    /// Those who were deleted, and whose data is still to go.
    pub deleted: Vec<TenantName>,
}

/// What a token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    digest: SecretDigest,
    role: Role,
    tenant: TenantName,
    note: String,
    /// Unix milliseconds; `None`: it does not expire.
    expires_ms: Option<u64>,
}

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// For the log and the audit trail.
    pub name: String,
    /// Whether a browser brings this for every request, also for one that another site's page makes it send.
    pub is_ambient: bool,
}

impl Who {
    /// Where nobody is asked.
    pub fn anyone() -> Self {
        Self::named("anyone")
    }

    /// Somebody who brings something of their own.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_ambient: false }
    }
}

/// Somebody who was let in, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who.
    pub who: Who,
    /// Whose store answers them.
    pub tenant: TenantName,
}

/// What says who sent a request, beside its own headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Brought<'r> {
    /// That of the connection.
    pub certificate: Option<&'r PeerCertificate>,
    /// What a proxy says. Then the connection is the proxy's, and its certificate is nobody else's.
    pub forwarded: Option<&'r Forwarded>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No credentials.
    #[error("this collector asks who you are, and the request does not say")]
    Missing,
    /// What it brings is no token.
    #[error("the credentials are not a token of this collector")]
    Unreadable,
    /// It has a token in its address.
    #[error("the address holds a token, where logs and histories keep it")]
    InAddress,
    /// Nobody's token, or a wrong secret: not told apart.
    #[error("the token is not known here: it was never created, or was revoked")]
    Unknown,
    /// It was right once.
    #[error("the token has expired")]
    Expired,
    /// It is somebody who may not do this.
    #[error("the role {has} may not do this: it needs {needs}", has = has.as_str(), needs = needs.as_str())]
    Role {
        /// Theirs.
        has: Role,
        /// The one that may.
        needs: Role,
    },
    /// A proxy says who it is in a way that two readers may understand differently.
    #[error("the proxy says twice, or unreadably, who you are or which tenant you mean")]
    Unclear,
    /// It is somebody who may do nothing.
    #[error("you are known, but none of your groups may do anything here")]
    NoGroup,
    /// It says to mean another tenant than that of its token or certificate.
    #[error("X-Scope-OrgID names another tenant than the one that your token or certificate is for")]
    OtherTenant,
    /// There is no such tenant, or no longer.
    #[error("there is no such tenant here")]
    NoTenant,
    /// It changes something, and nothing says that a page of ours sent it.
    #[error("the request does not say which page sent it, and may be another site's")]
    NoPage,
}

impl Refusal {
    /// What to do next.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Missing | Self::Unreadable => {
                "send a token as `Authorization: Bearer ID.SECRET`, or as the password of basic authentication; `tephra token create` makes one"
            }
            Self::InAddress => "send it as a header, and revoke it: it must be taken for known",
            Self::Unknown | Self::Expired => {
                "`tephra token list` shows those there are, `tephra token create` makes one"
            }
            Self::Role { .. } => "use a token of that role; `tephra token list` shows who has which",
            Self::Unclear => {
                "the proxy must replace X-Forwarded-User, X-Forwarded-Email, X-Forwarded-Groups and X-Scope-OrgID of whoever asks, and send each once"
            }
            Self::NoGroup => {
                "`tephra serve --group-role GROUP=ROLE` says which groups may; the proxy sends yours in X-Forwarded-Groups"
            }
            Self::OtherTenant => {
                "leave the header out, or use a token of that tenant: `tephra token create --tenant NAME`"
            }
            Self::NoTenant => "`tephra tenant list` shows those there are, `tephra tenant create` makes one",
            Self::NoPage => {
                "browsers send Origin or Sec-Fetch-Site, and the proxy must let it through; tools bring a token"
            }
        }
    }

    /// All that [`Self::reason`] says.
    pub const REASONS: [&'static str; 11] = [
        "missing",
        "unreadable",
        "in_address",
        "unknown",
        "expired",
        "role",
        "unclear",
        "group",
        "other_tenant",
        "no_tenant",
        "page",
    ];

    /// One word, for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::InAddress => "in_address",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Role { .. } => "role",
            Self::Unclear => "unclear",
            Self::NoGroup => "group",
            Self::OtherTenant => "other_tenant",
            Self::NoTenant => "no_tenant",
            Self::NoPage => "page",
        }
    }

    /// Whether other credentials would help: 401, where otherwise it is 403.
    pub fn asks_for_credentials(self) -> bool {
        matches!(self, Self::Missing | Self::Unreadable | Self::Unknown | Self::Expired)
    }

    /// Whether it may have been a guess.
    fn is_guess(self) -> bool {
        matches!(self, Self::Unreadable | Self::Unknown)
    }
}

impl Access {
    /// Reads what is granted, for the first time.
    ///
    /// # Errors
    /// When the catalog does not answer. A file with a bootstrap token that is not there or holds none is a condition: it may come.
    pub async fn open(
        options: AccessOptions,
        catalog: AccessCatalog,
        conditions: &Conditions,
    ) -> Result<Self, CatalogError> {
        let known = options.is_on().then(|| {
            let AccessOptions { bootstrap, bootstrap_file, certificates, proxies, .. } = options;
            Arc::new(Known { bootstrap, bootstrap_file, certificates, proxies, ..Known::default() })
        });
        let access = Self { known, catalog: Some(catalog), only: None };
        access.read_again(conditions).await?;
        Ok(access)
    }

    /// Whether credentials are asked for.
    pub fn is_on(&self) -> bool {
        self.known.is_some()
    }

    /// The same for a tenant, who is told of their own deeds alone.
    pub fn within(&self, tenant: &TenantName) -> Self {
        Self { only: Some(tenant.clone()), ..self.clone() }
    }

    /// The tenants there are, as of the last time that they were read.
    pub fn tenants(&self) -> Tenants {
        let Some(known) = &self.known else { return Tenants::default() };
        known.tenants.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much a tenant may use, if there is such a one.
    pub fn limits_of(&self, tenant: &TenantName) -> Option<TenantLimits> {
        let tenants = self.known.as_ref()?.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.living.get(tenant).copied()
    }

    /// Says that nothing is left of a deleted tenant.
    ///
    /// # Errors
    /// When the catalog does not answer.
    pub async fn forget(&self, tenant: &TenantName) -> Result<(), CatalogError> {
        let Some(catalog) = &self.catalog else { return Ok(()) };
        catalog.forget_tenant(tenant.as_str()).await
    }

    /// What a proxy says of a request, if that is who sends it.
    pub fn forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Forwarded> {
        self.known.as_ref()?.proxies.read(peer, headers)
    }

    /// Lets somebody in who may do what `needs` may, or says why not. A token that is brought counts, and where none is, who the proxy says
    /// it is, or the certificate. Where to is said by the token or the certificate, and for people by the proxy.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        brought: Brought<'_>,
        needs: Role,
    ) -> Result<Admitted, Refusal> {
        let Some(known) = &self.known else {
            return Ok(Admitted { who: Who::anyone(), tenant: TenantName::default() });
        };
        let (who, own) = known.identify(headers, uri, brought, needs)?;
        let tenant = scope::choose(own, headers)?;
        if !tenant.is_default() && self.limits_of(&tenant).is_none() {
            return Err(Refusal::NoTenant);
        }
        Ok(Admitted { who, tenant })
    }

    /// The tenant of somebody who may not do what they asked for; the default one where that is not known.
    pub fn tenant_of(&self, headers: &HeaderMap, uri: &Uri, brought: Brought<'_>) -> TenantName {
        let admitted = Role::ALL.into_iter().find_map(|role| self.admit(headers, uri, brought, role).ok());
        admitted.map(|admitted| admitted.tenant).unwrap_or_default()
    }

    /// How long the answer to a refused request has to wait.
    pub fn wait_after(&self, refusal: Refusal, address: Option<IpAddr>) -> Duration {
        match (&self.known, address) {
            (Some(known), Some(address)) if refusal.is_guess() => known.failures.note(address),
            _ => Duration::ZERO,
        }
    }

    /// Writes down what somebody did. That it could not be written down is for the log: it has been done.
    pub async fn note(&self, deed: Deed) {
        let Deed { who, address, action, subject, outcome, tenant, .. } = &deed;
        info!(who, address, action, subject, outcome, tenant, "audit");
        let Some(catalog) = &self.catalog else { return };
        if let Err(error) = catalog.note(&deed).await {
            error!(%error, who, action, "the audit trail could not be written");
        }
    }

    /// The latest deeds of whom it is for, latest first.
    ///
    /// # Errors
    /// When the catalog does not answer.
    pub async fn deeds(&self, limit: u32) -> Result<Vec<Deed>, CatalogError> {
        match &self.catalog {
            Some(catalog) => catalog.deeds(self.only.as_ref().map(TenantName::as_str), limit).await,
            None => Ok(Vec::new()),
        }
    }

    /// Reads what is granted again and again.
    pub async fn keep_current(self, conditions: Conditions) {
        if !self.is_on() {
            return;
        }
        loop {
            tokio::time::sleep(READ_AGAIN).await;
            match self.read_again(&conditions).await {
                Ok(()) => conditions.end(NOT_READ, ""),
                Err(error) => {
                    let message = format!(
                        "the access catalog does not answer ({error}): tokens that were created or revoked since do not count yet"
                    );
                    conditions.begin(NOT_READ, "", Severity::Degraded, message);
                }
            }
        }
    }

    pub(crate) async fn read_again(&self, conditions: &Conditions) -> Result<(), CatalogError> {
        let (Some(known), Some(catalog)) = (&self.known, &self.catalog) else { return Ok(()) };
        let mut tokens: HashMap<String, Grant> =
            catalog.tokens_in_force().await?.into_iter().filter_map(Grant::of).collect();
        let tenants = Tenants::of(catalog.tenants().await?);
        known.read_file(conditions);
        let from_file = known.from_file.read().unwrap_or_else(PoisonError::into_inner).clone();
        for token in known.bootstrap.iter().chain(&from_file) {
            let grant = Grant {
                digest: token.digest(),
                role: Role::Admin,
                tenant: TenantName::default(),
                note: "bootstrap".to_owned(),
                expires_ms: None,
            };
            tokens.insert(token.id().to_owned(), grant);
        }
        // First: a token that was created with its tenant finds it.
        *known.tenants.write().unwrap_or_else(PoisonError::into_inner) = tenants;
        *known.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(())
    }
}

/// By what the groups of a person may do, all together.
fn by_proxy(person: &Person, needs: Role) -> Result<Who, Refusal> {
    match person {
        Person::Nobody => Err(Refusal::Missing),
        Person::Unclear => Err(Refusal::Unclear),
        Person::Known { name, roles } => match roles.iter().max() {
            None => Err(Refusal::NoGroup),
            Some(_) if roles.iter().any(|role| role.may(needs)) => {
                Ok(Who { name: format!("person:{name}"), is_ambient: true })
            }
            Some(has) => Err(Refusal::Role { has: *has, needs }),
        },
    }
}

impl Known {
    /// Who it is, if they may do this, and the tenant that they have by what they bring.
    fn identify(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        brought: Brought<'_>,
        needs: Role,
    ) -> Result<(Who, Option<TenantName>), Refusal> {
        let token = match Credentials::of(headers, uri) {
            Credentials::None => {
                return match brought.forwarded {
                    Some(forwarded) => by_proxy(&forwarded.person, needs).map(|who| (who, None)),
                    None => self.by_certificate(brought.certificate, needs),
                };
            }
            Credentials::Unreadable => return Err(Refusal::Unreadable),
            Credentials::InAddress => return Err(Refusal::InAddress),
            Credentials::Token(token) => token,
        };
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let grant = tokens.get(token.id());
        if !token.is_known_by(grant.map(|grant| &grant.digest)) {
            return Err(Refusal::Unknown);
        }
        let grant = grant.ok_or(Refusal::Unknown)?;
        if grant.expires_ms.is_some_and(|expires_ms| now_ms() >= expires_ms) {
            return Err(Refusal::Expired);
        }
        if !grant.role.may(needs) {
            return Err(Refusal::Role { has: grant.role, needs });
        }
        let note = if grant.note.is_empty() { String::new() } else { format!(" ({})", grant.note) };
        Ok((Who::named(format!("token {}{note}", token.id())), Some(grant.tenant.clone())))
    }

    /// By the first of its names that grants this.
    fn by_certificate(
        &self,
        certificate: Option<&PeerCertificate>,
        needs: Role,
    ) -> Result<(Who, Option<TenantName>), Refusal> {
        let names = certificate.map(|certificate| &certificate.names[..]).unwrap_or_default();
        let mut granted = self.certificates.iter().filter(|grant| names.contains(&grant.name));
        let may = granted.clone().find(|grant| grant.role.may(needs));
        match (may, granted.next()) {
            (Some(NameGrant { name, tenant, .. }), _) => {
                Ok((Who::named(format!("certificate {name}")), Some(tenant.clone())))
            }
            (None, Some(NameGrant { role, .. })) => Err(Refusal::Role { has: *role, needs }),
            (None, None) => Err(Refusal::Missing),
        }
    }

    /// Reads the bootstrap token's file; a broken one leaves the last good one in force, and says so.
    fn read_file(&self, conditions: &Conditions) {
        let Some(file) = &self.bootstrap_file else { return };
        let found = token_in(file).and_then(|text| {
            Token::parse(text.trim()).ok_or_else(|| "it holds no token: `tephra token draw` makes one".to_owned())
        });
        let problem = found.as_ref().err().map(|why| format!("the bootstrap token in {}: {why}", file.display()));
        conditions.set(BOOTSTRAP_NOT_READ, Severity::Degraded, problem);
        if let Ok(token) = found {
            *self.from_file.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
        }
    }
}

impl Grant {
    /// With the id it is found by; a role that this release does not know grants nothing.
    fn of(token: GrantedToken) -> Option<(String, Self)> {
        let GrantedToken { id, digest, role, tenant, note, expires_ms, .. } = token;
        let (role, tenant) = (Role::parse(&role)?, TenantName::parse(&tenant).ok()?);
        Some((id, Self { digest, role, tenant, note, expires_ms }))
    }
}

impl Tenants {
    /// What is no name of a tenant stays out, whoever wrote it there.
    fn of(rows: Vec<Tenant>) -> Self {
        let mut tenants = Self::default();
        for row in rows {
            match (TenantName::parse(&row.name), row.deleted_ms) {
                (Ok(name), _) if name.is_default() => {}
                (Ok(name), None) => drop(tenants.living.insert(name, row.limits)),
                (Ok(name), Some(_)) => tenants.deleted.push(name),
                (Err(error), _) => error!(%error, "the access catalog holds a tenant that can be none"),
            }
        }
        tenants
    }
}
