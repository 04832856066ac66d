//! What the commands that work on a store's access catalog share: it is opened for them, whether or not a collector runs, and what they do is
//! written down.

use std::io::Write;
use std::process::ExitCode;

use super::fail;
use super::store::StoreArgs;
use crate::base::clock::now_ms;
use crate::base::tenant::TenantName;
use crate::store::access::{AccessCatalog, Deed};
use crate::store::place::Place;

/// Opens the access catalog of a store, and prints what is made of it.
pub(super) fn in_store(store: StoreArgs, what: impl AsyncFnOnce(AccessCatalog) -> Result<String, String>) -> ExitCode {
    match store.place() {
        Ok(place) => in_place(&place, what),
        Err(error) => fail(2, &error),
    }
}

/// The same where the place is known.
pub(super) fn in_place(place: &Place, what: impl AsyncFnOnce(AccessCatalog) -> Result<String, String>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    let done = runtime.block_on(async {
        let catalog = AccessCatalog::open(place).await.map_err(|error| error.to_string())?;
        let done = what(catalog.clone()).await;
        catalog.close().await;
        done
    });
    match done {
        Ok(text) => say(&text),
        Err(error) => fail(1, &error),
    }
}

/// Prints it.
pub(super) fn say(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    ExitCode::SUCCESS
}

/// Writes down what was done for a tenant.
pub(super) async fn note_deed(
    catalog: &AccessCatalog,
    tenant: &TenantName,
    action: &str,
    subject: String,
) -> Result<(), String> {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let user: String = user.chars().filter(|c| tephra_proto::label::is_printable(*c)).take(40).collect();
    let deed = Deed {
        at_ms: now_ms(),
        who: format!("{user} at the command line"),
        address: String::new(),
        action: action.to_owned(),
        subject,
        outcome: "done".to_owned(),
        tenant: tenant.to_string(),
    };
    catalog.note(&deed).await.map_err(|error| format!("it is done, and could not be written down: {error}"))
}

/// The name of a tenant, as an argument.
pub(super) fn tenant(text: &str) -> Result<TenantName, String> {
    TenantName::parse(text).map_err(|error| error.to_string())
}
