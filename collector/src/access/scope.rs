//! `X-Scope-OrgID`: what a request says of the tenant it means, and which one that comes to.
//!
//! Who brings a token or a certificate has a tenant by that, and cannot choose: a header that names another is a mistake, and answering from
//! the right store would hide it. Only a proxy that is believed may choose, for the people that it logs in.

use axum::http::HeaderMap;

use super::Refusal;
use crate::base::tenant::TenantName;

/// As clients and proxies of Pyroscope, Mimir and Loki send it.
const SCOPE: &str = "x-scope-orgid";

/// What the header says.
enum Said {
    Nothing,
    One(TenantName),
    /// It is there twice, or is no name that a tenant can have.
    Unreadable,
}

impl Said {
    fn of(headers: &HeaderMap) -> Self {
        let mut all = headers.get_all(SCOPE).iter();
        let Some(first) = all.next() else { return Self::Nothing };
        let name = std::str::from_utf8(first.as_bytes()).ok().and_then(|text| TenantName::parse(text.trim()).ok());
        match name {
            Some(name) if all.next().is_none() => Self::One(name),
            _ => Self::Unreadable,
        }
    }
}

/// The tenant of somebody who has `own` by what they bring; `None`: by the word of a proxy alone.
pub(super) fn choose(own: Option<TenantName>, headers: &HeaderMap) -> Result<TenantName, Refusal> {
    match (own, Said::of(headers)) {
        (Some(own), Said::Nothing) => Ok(own),
        (Some(own), Said::One(said)) if said == own => Ok(own),
        (Some(_), _) => Err(Refusal::OtherTenant),
        (None, Said::Nothing) => Ok(TenantName::default()),
        (None, Said::One(said)) => Ok(said),
        (None, Said::Unreadable) => Err(Refusal::Unclear),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(said: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(SCOPE, value.parse().unwrap());
        }
        headers
    }

    fn tenant(name: &str) -> TenantName {
        TenantName::parse(name).unwrap()
    }

    #[test]
    fn who_has_a_tenant_cannot_choose_another() {
        let acme = || Some(tenant("acme"));
        assert_eq!(choose(acme(), &headers(&[])), Ok(tenant("acme")));
        assert_eq!(choose(acme(), &headers(&["acme"])), Ok(tenant("acme")));
        for said in
            [&["initech"][..], &["default"], &["ACME"], &[""], &["acme|initech"], &["acme", "acme"], &["../acme"]]
        {
            assert_eq!(choose(acme(), &headers(said)), Err(Refusal::OtherTenant), "{said:?}");
        }
        assert_eq!(choose(Some(TenantName::default()), &headers(&["acme"])), Err(Refusal::OtherTenant));
    }

    #[test]
    fn a_proxy_chooses_in_a_way_that_all_read_alike() {
        assert_eq!(choose(None, &headers(&[])), Ok(TenantName::default()));
        assert_eq!(choose(None, &headers(&[" acme "])), Ok(tenant("acme")));
        for said in
            [&["acme", "acme"][..], &["acme", "initech"], &["acme|initech"], &[""], &["é"], &["a/b"], &["'; --"]]
        {
            assert_eq!(choose(None, &headers(said)), Err(Refusal::Unclear), "{said:?}");
        }
    }
}
