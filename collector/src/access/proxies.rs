//! Proxies that are believed: whom they send a request for, and who they say that is.
//!
//! What they say stands in headers that anybody can write. So it is read only where the connection itself comes from a network that the
//! operator has named ([`Proxies::read`]), and from nobody else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::HeaderMap;
use ipnet::IpNet;
use tephra_proto::label;

use super::role::Role;

/// Who asks, as oauth2-proxy says it.
const USER: &str = "x-forwarded-user";
/// The same, where there is no name.
const EMAIL: &str = "x-forwarded-email";
/// Comma-separated.
const GROUPS: &str = "x-forwarded-groups";
/// The address that the client came from, and those of proxies on the way, the nearest last.
const FOR: &str = "x-forwarded-for";
/// What the client speaks to the first proxy.
const PROTO: &str = "x-forwarded-proto";

/// Characters of a person's name. A longer one is no name.
const NAME_CHARS_MAX: usize = 256;

/// Networks whose hosts are believed, and what groups of people may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Where the proxies are.
    pub networks: Vec<IpNet>,
    /// What the members of a group may do.
    pub group_roles: Vec<(String, Role)>,
}

/// What a proxy says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Where it comes from.
    pub client: IpAddr,
    /// Whether the client speaks TLS to the proxy, if it says so.
    pub is_encrypted: Option<bool>,
    /// Who asks.
    pub person: Person,
}

/// Who asks, by the words of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// It does not say.
    Nobody,
    /// It says so twice, or what it says is no name.
    Unclear,
    /// Somebody.
    Known {
        /// Of the person.
        name: Arc<str>,
        /// All that their groups may do.
        roles: Vec<Role>,
    },
}

impl Proxies {
    /// Whether anybody is believed.
    pub fn is_on(&self) -> bool {
        !self.networks.is_empty()
    }

    /// Whether an address is a proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// What the headers of a request say, if it comes from a proxy. Nothing of them is read otherwise.
    pub fn read(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Forwarded> {
        self.trusts(peer).then(|| Forwarded {
            client: self.client(peer, headers),
            is_encrypted: is_encrypted(headers),
            person: self.person(headers),
        })
    }

    /// The nearest hop that is no proxy of ours. Whatever stands before it was written by somebody else, and whatever is no address ends
    /// the search: then it is the hop that wrote it down.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        for value in headers.get_all(FOR).iter().rev() {
            for hop in value.as_bytes().rsplit(|b| *b == b',') {
                let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else { return client };
                client = address;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }

    fn person(&self, headers: &HeaderMap) -> Person {
        let Ok([user, email, groups]) = read_all(headers, [USER, EMAIL, GROUPS]) else { return Person::Unclear };
        let Some(name) = user.or(email) else { return Person::Nobody };
        if name.chars().count() > NAME_CHARS_MAX || !name.chars().all(label::is_printable) {
            return Person::Unclear;
        }
        let groups: Vec<&str> = groups.unwrap_or_default().split(',').map(str::trim).collect();
        let of_groups = self.group_roles.iter().filter(|(group, _)| groups.contains(&group.as_str()));
        Person::Known { name: name.into(), roles: of_groups.map(|(_, role)| *role).collect() }
    }
}

/// A network as it is written for `--trust-proxy`: `10.0.0.0/8`, `fd00::/8`, or a single address.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn network(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
    let network = text.parse::<IpNet>().ok().or_else(alone);
    let network =
        network.ok_or_else(|| format!("{text:?} is no network: write one such as 10.1.0.0/16 or 127.0.0.1"))?;
    if network.prefix_len() == 0 {
        return Err(format!(
            "{text} is everybody, and everybody could say to be anybody: name the proxy's own network"
        ));
    }
    Ok(network.trunc())
}

/// The value of each header that is there and not empty.
///
/// # Errors
/// When one of them is there twice, so that two readers may take different ones, or is no text.
fn read_all<'h, const N: usize>(headers: &'h HeaderMap, names: [&str; N]) -> Result<[Option<&'h str>; N], ()> {
    let mut values = [None; N];
    for (value, name) in values.iter_mut().zip(names) {
        let mut all = headers.get_all(name).iter();
        let first = all.next();
        if all.next().is_some() {
            return Err(());
        }
        let text = first.map(|first| std::str::from_utf8(first.as_bytes())).transpose().map_err(drop)?;
        *value = text.map(str::trim).filter(|text| !text.is_empty());
    }
    Ok(values)
}

/// Where it is said more than once somebody on the way spoke something else, and it is not.
fn is_encrypted(headers: &HeaderMap) -> Option<bool> {
    let mut all = headers.get_all(PROTO).iter();
    let (first, second) = (all.next()?, all.next());
    Some(second.is_none() && first.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// A hop: an address, with or without a port and brackets. Proxies also write `unknown`, and names that they made up (RFC 7239, 6).
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(inside) => IpAddr::V6(inside.parse().ok()?),
        None => hop.parse::<IpAddr>().or_else(|_| hop.parse().map(|with_port: SocketAddr| with_port.ip())).ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn proxies() -> Proxies {
        Proxies {
            networks: ["10.0.0.0/8", "fd00::/8"].map(|text| network(text).unwrap()).into(),
            group_roles: vec![
                ("staff".to_owned(), Role::Read),
                ("ops".to_owned(), Role::Admin),
                ("robots".to_owned(), Role::Push),
            ],
        }
    }

    fn headers(said: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::try_from(*name).unwrap(), value);
        }
        headers
    }

    fn read(said: &[(&str, &str)]) -> Forwarded {
        proxies().read("10.0.0.1".parse().unwrap(), &headers(said)).unwrap()
    }

    fn client(hops: &[&str]) -> String {
        let said: Vec<_> = hops.iter().map(|hops| (FOR, *hops)).collect();
        read(&said).client.to_string()
    }

    #[test]
    fn the_client_is_the_nearest_hop_that_is_no_proxy() {
        assert_eq!(client(&[]), "10.0.0.1", "nobody is named: the proxy itself asks");
        assert_eq!(client(&["192.0.2.7"]), "192.0.2.7");
        assert_eq!(client(&["203.0.113.9, 192.0.2.7, 10.9.9.9,fd00::1"]), "192.0.2.7", "what stands before is hearsay");
        assert_eq!(client(&["203.0.113.9", "192.0.2.7, 10.9.9.9", "10.9.9.8"]), "192.0.2.7", "several headers are one");
        assert_eq!(client(&["10.1.1.1, 10.2.2.2"]), "10.1.1.1", "proxies all the way");
        assert_eq!(client(&["\u{e9}, 192.0.2.7"]), "192.0.2.7", "nobody hides behind what is no text");
        for written in ["192.0.2.7:1234", " 192.0.2.7 ", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]:80", "x,192.0.2.7"] {
            assert_eq!(client(&[written]), "192.0.2.7", "{written}");
        }
        for written in ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:443"] {
            assert_eq!(client(&[written]), "2001:db8::7", "{written}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        for rubbish in ["", "unknown", "_hidden", "192.0.2", "192.0.2.7:", "[192.0.2.7]", "[::1", "1.2.3.4;", "\u{e9}"]
        {
            assert_eq!(client(&[rubbish]), "10.0.0.1", "{rubbish:?}");
            assert_eq!(client(&[&format!("192.0.2.7, {rubbish}, 10.9.9.9")]), "10.9.9.9", "{rubbish:?}");
            assert_eq!(client(&["192.0.2.7", rubbish]), "10.0.0.1", "{rubbish:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        let said = headers(&[(FOR, "192.0.2.7"), (USER, "alice"), (GROUPS, "ops"), (PROTO, "https")]);
        for stranger in ["192.0.2.1", "11.0.0.1", "127.0.0.1", "::1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert_eq!(proxies().read(stranger.parse().unwrap(), &said), None, "{stranger}");
        }
        for ours in ["10.0.0.1", "fd12::1", "::ffff:10.0.0.1"] {
            assert!(proxies().read(ours.parse().unwrap(), &said).is_some(), "{ours}");
        }
        assert_eq!(Proxies::default().read("10.0.0.1".parse().unwrap(), &said), None);
    }

    #[test]
    fn a_person_has_the_roles_of_their_groups() {
        let known = |name: &str, roles: &[Role]| Person::Known { name: name.into(), roles: roles.to_vec() };
        assert_eq!(read(&[]).person, Person::Nobody);
        assert_eq!(read(&[(GROUPS, "ops")]).person, Person::Nobody, "a group is nobody");
        assert_eq!(read(&[(USER, "alice"), (GROUPS, "ops,staff")]).person, known("alice", &[Role::Read, Role::Admin]));
        assert_eq!(read(&[(USER, "bob"), (GROUPS, " staff , x")]).person, known("bob", &[Role::Read]));
        assert_eq!(read(&[(USER, "eve"), (GROUPS, "Ops,op,ops2,opsstaff")]).person, known("eve", &[]));
        assert_eq!(read(&[(USER, "eve")]).person, known("eve", &[]));
        assert_eq!(read(&[(EMAIL, "a@x.example"), (GROUPS, "staff")]).person, known("a@x.example", &[Role::Read]));
        assert_eq!(read(&[(USER, ""), (EMAIL, "a@x.example")]).person, known("a@x.example", &[]));
        assert_eq!(read(&[(USER, "alice"), (EMAIL, "a@x.example")]).person, known("alice", &[]));
        assert_eq!(read(&[(USER, "Zo\u{eb}")]).person, known("Zo\u{eb}", &[]));
    }

    #[test]
    fn who_is_said_twice_or_unreadably_is_nobody_at_all() {
        let twice: [&[(&str, &str)]; 5] = [
            &[(USER, "alice"), (USER, "alice")],
            &[(USER, "alice"), (USER, "")],
            &[(USER, "alice"), (EMAIL, "a@x"), (EMAIL, "b@x")],
            &[(USER, "alice"), (GROUPS, "staff"), (GROUPS, "ops")],
            &[(USER, "alice\u{202e}"), (GROUPS, "ops")],
        ];
        for said in twice {
            assert_eq!(read(said).person, Person::Unclear, "{said:?}");
        }
        assert_eq!(read(&[(USER, &"x".repeat(NAME_CHARS_MAX + 1))]).person, Person::Unclear);
        let mut latin = headers(&[(GROUPS, "ops")]);
        latin.insert(USER, HeaderValue::from_bytes(b"al\xffce").unwrap());
        assert_eq!(proxies().read("10.0.0.1".parse().unwrap(), &latin).unwrap().person, Person::Unclear);
        // Some servers make these the same as those with hyphens; here they are other names, and read by nobody.
        let smuggled = [("x_forwarded_user", "root"), ("x_forwarded_groups", "ops"), ("x_forwarded_for", "192.0.2.7")];
        let got = read(&smuggled);
        assert_eq!((got.person, got.client.to_string()), (Person::Nobody, "10.0.0.1".to_owned()));
    }

    #[test]
    fn what_the_client_speaks_is_said_once() {
        assert_eq!(read(&[]).is_encrypted, None);
        for said in ["https", "HTTPS"] {
            assert_eq!(read(&[(PROTO, said)]).is_encrypted, Some(true), "{said}");
        }
        for said in [&[(PROTO, "http")][..], &[(PROTO, "https,http")], &[(PROTO, "https"), (PROTO, "http")]] {
            assert_eq!(read(said).is_encrypted, Some(false), "{said:?}");
        }
    }

    #[test]
    fn networks_are_what_people_write_and_never_everybody() {
        for (text, is) in
            [("10.1.2.3/8", "10.0.0.0/8"), ("127.0.0.1", "127.0.0.1/32"), ("::1", "::1/128"), ("fd00::/8", "fd00::/8")]
        {
            assert_eq!(network(text).unwrap().to_string(), is);
        }
        for bad in ["", "x", "10.0.0.0/33", "10.0.0/8", "proxy.example", "10.0.0.1:80"] {
            assert!(network(bad).unwrap_err().contains("such as 10.1.0.0/16"), "{bad}");
        }
        for all in ["0.0.0.0/0", "::/0"] {
            assert!(network(all).unwrap_err().contains("everybody"), "{all}");
        }
    }
}
