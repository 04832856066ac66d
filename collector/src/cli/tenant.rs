//! `tephra tenant`: who has a store of their own in this collector, and how much each may use. It works on the store itself, whether or not a
//! collector runs.

use std::process::ExitCode;

use clap::Subcommand;

use super::access::{in_place, note_deed, tenant};
use super::fail;
use super::store::StoreArgs;
use crate::access::READ_AGAIN;
use crate::base::clock::now_ms;
use crate::base::tenant::TenantName;
use crate::base::times::{format_duration, format_utc, parse_duration};
use crate::store::access::{AccessCatalog, Tenant, TenantLimits};

/// Below an hour a query over the default range would miss data that just arrived.
const RETENTION_MS_MIN: u64 = 3_600_000;

/// Less than a small service sends.
const RATE_MIN: u64 = 1 << 10;

/// What `tephra tenant` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create a tenant: a store of its own, for whoever has a token of it (`tephra token create --tenant`)
    Create {
        #[command(flatten)]
        store: StoreArgs,
        /// Its name: 1 to 63 of a-z, 0-9 and -
        #[arg(value_parser = tenant)]
        name: TenantName,
        #[command(flatten)]
        limits: Limits,
    },
    /// List all tenants, and what each may use
    List {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Set what a tenant may use; what is left out stays, and `default` is what the collector's options say
    Limit {
        #[command(flatten)]
        store: StoreArgs,
        /// Its name
        #[arg(value_parser = tenant)]
        name: TenantName,
        #[command(flatten)]
        limits: Limits,
    },
    /// Delete a tenant for good: its tokens, and all that it stored
    Delete {
        #[command(flatten)]
        store: StoreArgs,
        /// Its name
        #[arg(value_parser = tenant)]
        name: TenantName,
        /// Say that this is meant: there is no way back
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Copy, Default, clap::Args)]
struct Limits {
    /// How long its profiles are kept, such as 30d; never longer than the collector's own --retention
    #[arg(long, value_name = "DURATION", value_parser = retention)]
    retention: Option<Limit>,
    /// How much it may send in the long run, such as 512KiB or 4MiB a second
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    rate: Option<Limit>,
    /// Instances and label sets of one service kept apart within an hour; never more than the collector's own --series-max
    #[arg(long, value_name = "N", value_parser = series)]
    series: Option<Limit>,
}

/// So much, or what the collector's options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit(Option<u64>);

impl Limits {
    /// The limits, where what was not given stays.
    fn over(self, known: TenantLimits) -> TenantLimits {
        let or = |given: Option<Limit>, known: Option<u64>| given.map_or(known, |Limit(given)| given);
        TenantLimits {
            retention_ms: or(self.retention, known.retention_ms),
            bytes_per_s: or(self.rate, known.bytes_per_s),
            series: or(self.series, known.series),
        }
    }

    fn is_none(self) -> bool {
        self.retention.is_none() && self.rate.is_none() && self.series.is_none()
    }
}

/// Does it.
pub(super) fn run(args: Args) -> ExitCode {
    let (What::Create { store, .. } | What::List { store } | What::Limit { store, .. } | What::Delete { store, .. }) =
        &args.what;
    let place = match store.clone().place() {
        Ok(place) if !place.is_shared() => place,
        Ok(_) => {
            let why = "collectors that share a database and a bucket have no tenants: run some for each, with a database and a prefix of their own";
            return fail(2, &why);
        }
        Err(error) => return fail(2, &error),
    };
    match args.what {
        What::Create { name, limits, .. } => {
            in_place(&place, async move |catalog| create(&catalog, &name, limits).await)
        }
        What::List { .. } => in_place(&place, async |catalog| {
            let tenants = catalog.tenants().await.map_err(|error| error.to_string())?;
            Ok(table(&tenants))
        }),
        What::Limit { name, limits, .. } => in_place(&place, async move |catalog| limit(&catalog, &name, limits).await),
        What::Delete { name, yes, .. } => in_place(&place, async move |catalog| delete(&catalog, &name, yes).await),
    }
}

async fn create(catalog: &AccessCatalog, name: &TenantName, limits: Limits) -> Result<String, String> {
    if name.is_default() {
        return Err("the tenant default is there always: its store is the data folder itself".to_owned());
    }
    catalog.create_tenant(name.as_str(), now_ms()).await.map_err(|error| error.to_string())?;
    let limits = limits.over(TenantLimits::default());
    catalog.limit_tenant(name.as_str(), limits).await.map_err(|error| error.to_string())?;
    note_deed(catalog, name, "create tenant", format!("{name} {}", words(limits))).await?;
    Ok(format!(
        "{name} is created, and counts within {} s: `tephra token create --tenant {name}` lets somebody in",
        READ_AGAIN.as_secs()
    ))
}

async fn limit(catalog: &AccessCatalog, name: &TenantName, limits: Limits) -> Result<String, String> {
    if name.is_default() {
        return Err("the limits of the tenant default are the options of `tephra serve`".to_owned());
    }
    if limits.is_none() {
        return Err("say what to change: --retention, --rate or --series".to_owned());
    }
    let tenants = catalog.tenants().await.map_err(|error| error.to_string())?;
    let known = tenants.iter().find(|tenant| tenant.name == name.as_str()).map(|tenant| tenant.limits);
    let limits = limits.over(known.unwrap_or_default());
    catalog.limit_tenant(name.as_str(), limits).await.map_err(|error| error.to_string())?;
    note_deed(catalog, name, "limit tenant", format!("{name} {}", words(limits))).await?;
    Ok(format!(
        "{name}: {}. The rate counts within {} s, the others as soon as nothing is asked of the store for a moment",
        words(limits),
        READ_AGAIN.as_secs()
    ))
}

async fn delete(catalog: &AccessCatalog, name: &TenantName, yes: bool) -> Result<String, String> {
    if name.is_default() {
        return Err("the tenant default cannot be deleted: its store is the data folder itself".to_owned());
    }
    if !yes {
        return Err(format!(
            "this deletes all that {name} has stored, and its tokens, for good: say --yes if that is meant"
        ));
    }
    catalog.delete_tenant(name.as_str(), now_ms()).await.map_err(|error| error.to_string())?;
    note_deed(catalog, name, "delete tenant", name.to_string()).await?;
    Ok(format!(
        "{name} is deleted: nobody is let in within {} s, and then its data goes; where no collector runs, at its next start with --auth",
        READ_AGAIN.as_secs()
    ))
}

/// Its limits, for people.
fn words(limits: TenantLimits) -> String {
    let TenantLimits { retention_ms, bytes_per_s, series } = limits;
    let or = |shown: Option<String>| shown.unwrap_or_else(|| "default".to_owned());
    format!(
        "retention {}, rate {}, series {}",
        or(retention_ms.map(format_duration)),
        or(bytes_per_s.map(|bytes| format!("{} KiB/s", bytes / 1024))),
        or(series.map(|series| series.to_string()))
    )
}

fn table(tenants: &[Tenant]) -> String {
    let mut lines = vec![format!("{:24}  {:20}  {:28}  limits", "name", "created", "state")];
    for Tenant { name, created_ms, deleted_ms, limits } in tenants {
        let state = deleted_ms.map_or_else(|| "in use".to_owned(), |at| format!("deleted {}", format_utc(at)));
        lines.push(format!("{name:24}  {:20}  {state:28}  {}", format_utc(*created_ms), words(*limits)));
    }
    lines.join("\n")
}

fn retention(text: &str) -> Result<Limit, String> {
    if text == "default" {
        return Ok(Limit(None));
    }
    let ms = parse_duration(text).map_err(|error| format!("{error}; write one such as 30d"))?;
    if ms < RETENTION_MS_MIN {
        return Err(format!("{} is too short: at least 1h", format_duration(ms)));
    }
    Ok(Limit(Some(ms)))
}

fn rate(text: &str) -> Result<Limit, String> {
    if text == "default" {
        return Ok(Limit(None));
    }
    let bytes = super::serve::size(text.trim_end_matches("/s"), "4MiB")?;
    if !(RATE_MIN..=1 << 40).contains(&bytes) {
        return Err(format!("{text} is outside of 1KiB to 1024GiB a second"));
    }
    Ok(Limit(Some(bytes)))
}

fn series(text: &str) -> Result<Limit, String> {
    if text == "default" {
        return Ok(Limit(None));
    }
    let number = text.parse().ok().filter(|number| (1..=1_000_000u64).contains(number));
    Ok(Limit(Some(number.ok_or("write a number from 1 to 1000000, such as 500")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestPlace;

    #[test]
    fn limits_are_what_people_write() {
        assert_eq!(retention("30d"), Ok(Limit(Some(30 * 86_400_000))));
        assert_eq!(rate("4MiB"), Ok(Limit(Some(4 << 20))));
        assert_eq!(rate("512KiB/s"), Ok(Limit(Some(512 << 10))));
        assert_eq!(series("500"), Ok(Limit(Some(500))));
        for limit in [retention, rate, series] {
            assert_eq!(limit("default"), Ok(Limit(None)));
            assert!(limit("").is_err() && limit("-1").is_err() && limit("much").is_err());
        }
        assert!(retention("5m").unwrap_err().contains("at least 1h"));
        assert!(rate("0KiB").unwrap_err().contains("1KiB to"));
    }

    #[tokio::test]
    async fn tenants_are_created_limited_listed_and_deleted() {
        let place = TestPlace::folder();
        let catalog = AccessCatalog::open(&place.place()).await.unwrap();
        let (acme, default) = (TenantName::parse("acme").unwrap(), TenantName::default());
        let month = Limits { retention: Some(Limit(Some(30 * 86_400_000))), ..Limits::default() };
        for refused in [
            create(&catalog, &default, month).await,
            limit(&catalog, &default, month).await,
            delete(&catalog, &default, true).await,
        ] {
            assert!(refused.unwrap_err().contains("default"));
        }
        assert!(limit(&catalog, &acme, month).await.unwrap_err().contains("no tenant \"acme\""));
        assert!(create(&catalog, &acme, month).await.unwrap().contains("--tenant acme"));
        assert!(create(&catalog, &acme, month).await.unwrap_err().contains("already"));
        assert!(limit(&catalog, &acme, Limits::default()).await.unwrap_err().contains("--rate"));
        let faster = Limits { rate: Some(Limit(Some(1 << 20))), ..Limits::default() };
        let said = limit(&catalog, &acme, faster).await.unwrap();
        assert!(said.contains("retention 30d, rate 1024 KiB/s, series default"), "{said}");
        let said = table(&catalog.tenants().await.unwrap());
        assert!(said.lines().nth(1).unwrap().starts_with("acme ") && said.contains("in use"), "{said}");
        assert!(delete(&catalog, &acme, false).await.unwrap_err().contains("--yes"));
        delete(&catalog, &acme, true).await.unwrap();
        assert!(delete(&catalog, &acme, true).await.is_err());
        assert!(table(&catalog.tenants().await.unwrap()).contains("deleted 20"));
        let deeds: Vec<_> =
            catalog.deeds(Some("acme"), 10).await.unwrap().into_iter().map(|deed| deed.action).collect();
        assert_eq!(deeds, ["delete tenant", "limit tenant", "create tenant"]);
    }
}
