//! The stores of tenants beside the default one's: `tenants/NAME` in its folder, each a whole store that knows of no other.
#![expect(clippy::disallowed_methods, reason = "this is where a store is removed")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::disk::RealDisk;
use super::place::Place;
use super::{StoreError, folder};
use crate::base::tenant::TenantName;

/// The folder of them.
const TENANTS: &str = "tenants";

impl Place {
    /// Where a tenant's store is. `None` where collectors share the store: those have no tenants.
    pub fn of_tenant(&self, tenant: &TenantName) -> Option<Self> {
        match self {
            Self::Folder(data) => Some(Self::Folder(folder_of(data, tenant))),
            Self::Shared { .. } => None,
        }
    }
}

fn folder_of(data: &Path, tenant: &TenantName) -> PathBuf {
    data.join(TENANTS).join(tenant.as_str())
}

/// Removes a tenant's store for good, if there is one. Begins again where it was interrupted. Blocks.
///
/// # Errors
/// When somebody uses it, or the disk fails.
pub fn remove(data: &Path, tenant: &TenantName) -> Result<(), StoreError> {
    let folder = folder_of(data, tenant);
    if !folder.is_dir() {
        return Ok(());
    }
    let lock = folder::lock(&folder)?;
    let failed = |error: std::io::Error| StoreError::Folder {
        path: folder.clone(),
        problem: format!("cannot be removed ({error}): it is tried again"),
    };
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    drop(lock);
    folder::sync(&RealDisk, &data.join(TENANTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_one_tenants_alone() {
        let data = tempfile::tempdir().unwrap();
        let [acme, initech] = ["acme", "initech"].map(|name| TenantName::parse(name).unwrap());
        remove(data.path(), &acme).unwrap();
        for tenant in [&acme, &initech] {
            let segments = folder_of(data.path(), tenant).join("segments");
            fs::create_dir_all(&segments).unwrap();
            fs::write(segments.join("x"), "x").unwrap();
        }
        let used = folder::lock(&folder_of(data.path(), &acme)).unwrap();
        assert!(remove(data.path(), &acme).unwrap_err().to_string().contains("another tephra is using it"));
        drop(used);
        remove(data.path(), &acme).unwrap();
        remove(data.path(), &acme).unwrap();
        assert!(
            !folder_of(data.path(), &acme).exists() && folder_of(data.path(), &initech).join("segments/x").exists()
        );
        assert_eq!(folder_of(data.path(), &acme), data.path().join("tenants/acme"));
    }
}
