//! `tephra token`: who may do what, where the collector asks. It works on the store itself, whether or not a collector runs.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::access::{in_store, note_deed, say, tenant};
use super::fail;
use super::store::StoreArgs;
use crate::access::READ_AGAIN;
use crate::access::role::Role;
use crate::access::token::Token;
use crate::base::clock::now_ms;
use crate::base::tenant::TenantName;
use crate::base::times::{format_duration, format_utc, parse_duration};
use crate::store::access::{AccessCatalog, GrantedToken, NewToken};

/// Longer is not meant: leave it out.
const EXPIRES_MS_MAX: u64 = 10 * 366 * 86_400_000;

/// What `tephra token` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create a token and print it, once: the collector keeps only a digest of it
    Create {
        #[command(flatten)]
        store: StoreArgs,
        /// push: send profiles and symbols; read: look; write: read, and keep events, pins and alerts; admin: everything, and delete
        #[arg(long, value_parser = role)]
        role: Role,
        /// Whose store it is for
        #[arg(long, value_name = "NAME", default_value_t, value_parser = tenant)]
        tenant: TenantName,
        /// After how long it ends, such as 90d [default: never]
        #[arg(long, value_name = "DURATION", value_parser = expires)]
        expires: Option<Duration>,
        /// What it is for, shown by `list` and in the audit trail
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
    },
    /// List all tokens, without their secrets
    List {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Revoke a token, everywhere within seconds
    Revoke {
        #[command(flatten)]
        store: StoreArgs,
        /// Its id: what stands before the dot
        id: String,
    },
    /// Print a token that stands in no store, for --bootstrap-token-file or TEPHRA_BOOTSTRAP_TOKEN
    Draw,
}

/// Does it.
pub(super) fn run(args: Args) -> ExitCode {
    match args.what {
        What::Draw => match Token::draw() {
            Ok(token) => say(&token.reveal()),
            Err(error) => fail(1, &format!("the operating system gives no random bytes: {error}")),
        },
        What::Create { store, role, tenant, expires, note } => {
            in_store(store, async move |catalog| create(&catalog, (role, tenant), expires, note).await)
        }
        What::List { store } => in_store(store, async |catalog| {
            let tokens = catalog.tokens().await.map_err(|error| error.to_string())?;
            Ok(table(&tokens, now_ms()))
        }),
        What::Revoke { store, id } => in_store(store, async move |catalog| revoke(&catalog, &id).await),
    }
}

async fn create(
    catalog: &AccessCatalog,
    (role, tenant): (Role, TenantName),
    expires: Option<Duration>,
    note: String,
) -> Result<String, String> {
    let token = Token::draw().map_err(|error| format!("the operating system gives no random bytes: {error}"))?;
    let now = now_ms();
    let new = NewToken {
        id: token.id().to_owned(),
        digest: token.digest(),
        role: role.as_str().to_owned(),
        tenant: tenant.to_string(),
        note: note.chars().filter(|c| tephra_proto::label::is_printable(*c)).collect(),
        expires_ms: expires.map(|after| now.saturating_add(after.as_millis() as u64)),
    };
    catalog.create_token(&new, now).await.map_err(|error| error.to_string())?;
    note_deed(catalog, &tenant, "create token", format!("{} {} {}", new.id, new.role, new.note)).await?;
    let _ = writeln!(
        std::io::stderr(),
        "it counts within {} s, and is not shown again: send it as `Authorization: Bearer …`, or set TEPHRA_TOKEN",
        READ_AGAIN.as_secs()
    );
    Ok(token.reveal())
}

async fn revoke(catalog: &AccessCatalog, given: &str) -> Result<String, String> {
    // Somebody may paste the whole of it.
    let id = given.split('.').next().unwrap_or_default();
    let shown: String = id.chars().filter(|c| tephra_proto::label::is_printable(*c)).take(20).collect();
    if catalog.revoke_token(id, now_ms()).await.map_err(|error| error.to_string())? {
        let tokens = catalog.tokens().await.map_err(|error| error.to_string())?;
        let tenant = tokens.iter().find(|token| token.id == id).and_then(|token| TenantName::parse(&token.tenant).ok());
        note_deed(catalog, &tenant.unwrap_or_default(), "revoke token", shown.clone()).await?;
        return Ok(format!("{shown} is revoked: it counts nowhere within {} s", READ_AGAIN.as_secs()));
    }
    Err(format!("no token {shown:?} is in force: `tephra token list` shows those there are"))
}

fn table(tokens: &[GrantedToken], now_ms: u64) -> String {
    let mut lines = vec![format!("{:16}  {:5}  {:16}  {:20}  {:28}  note", "id", "role", "tenant", "created", "state")];
    for token in tokens {
        let state = match (token.revoked_ms, token.expires_ms) {
            (Some(at), _) => format!("revoked {}", format_utc(at)),
            (None, Some(at)) if at <= now_ms => format!("expired {}", format_utc(at)),
            (None, Some(at)) => format!("until {}", format_utc(at)),
            (None, None) => "in force".to_owned(),
        };
        let GrantedToken { id, role, tenant, note, created_ms, .. } = token;
        lines.push(format!("{id:16}  {role:5}  {tenant:16}  {:20}  {state:28}  {note}", format_utc(*created_ms)));
    }
    lines.join("\n")
}

fn role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| "one of push, read, write, admin".to_owned())
}

fn expires(text: &str) -> Result<Duration, String> {
    let ms = parse_duration(text).map_err(|error| format!("{error}; write one such as 90d"))?;
    if ms == 0 || ms > EXPIRES_MS_MAX {
        return Err(format!("{} is outside of a second to ten years", format_duration(ms)));
    }
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_durations_are_what_people_write() {
        assert_eq!(role("push"), Ok(Role::Push));
        assert!(role("root").unwrap_err().contains("push, read, write, admin"));
        assert_eq!(expires("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert!(expires("soon").unwrap_err().contains("such as 90d"));
        assert!(expires("40000d").is_err());
    }

    #[test]
    fn the_list_says_what_state_each_is_in_and_no_secret() {
        let token = |id: &str, expires_ms, revoked_ms| GrantedToken {
            id: id.to_owned(),
            digest: [0xab; 32],
            role: "push".to_owned(),
            tenant: "acme".to_owned(),
            note: "ci".to_owned(),
            created_ms: 1_700_000_000_000,
            expires_ms,
            revoked_ms,
        };
        let now = 1_800_000_000_000;
        let tokens = [
            token("a", None, None),
            token("b", Some(now + 1), None),
            token("c", Some(now), None),
            token("d", None, Some(now)),
        ];
        let said = table(&tokens, now);
        let lines: Vec<&str> = said.lines().collect();
        for (line, state) in lines[1..].iter().zip(["in force", "until 20", "expired 20", "revoked 20"]) {
            assert!(line.contains(state) && line.ends_with("ci"), "{line}");
        }
        assert!(!said.contains("abab"));
    }
}
