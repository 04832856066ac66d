//! What a service sent, by name: types, labels and their values.

use tephra_proto::ids::ServiceName;

use super::{QueryEngine, QueryError};
use crate::base::range::TimeRange;
use crate::profile::model::ProfileType;
use crate::store::StoreError;
use crate::store::catalog::ServiceRow;

impl QueryEngine {
    /// Every service that something is kept of, by name, and when it was heard of.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn services_seen(&self) -> Result<Vec<ServiceRow>, QueryError> {
        Ok(self.store.catalog().services().await.map_err(StoreError::from)?)
    }

    /// Profile types of a service, by name.
    ///
    /// # Errors
    /// When the service is unknown or the store fails.
    pub async fn types(&self, service: &ServiceName) -> Result<Vec<ProfileType>, QueryError> {
        self.know(service).await?;
        Ok(self.store.catalog().profile_types(service.as_str()).await.map_err(StoreError::from)?)
    }

    /// Names of a service's labels seen in the range, those of single samples among them; `instance` is one of them.
    ///
    /// # Errors
    /// When the service is unknown or the store fails.
    pub async fn labels(&self, service: &ServiceName, range: TimeRange) -> Result<Vec<String>, QueryError> {
        self.know(service).await?;
        let catalog = self.store.catalog();
        let names = catalog.label_names(service.as_str(), range.from_ms, range.until_ms).await;
        Ok(names.map_err(StoreError::from)?)
    }

    /// Values of one label seen in the range.
    ///
    /// # Errors
    /// When the service is unknown or the store fails.
    pub async fn label_values(
        &self,
        service: &ServiceName,
        name: &str,
        range: TimeRange,
    ) -> Result<Vec<String>, QueryError> {
        self.know(service).await?;
        let catalog = self.store.catalog();
        let values = catalog.label_values(service.as_str(), name, range.from_ms, range.until_ms).await;
        Ok(values.map_err(StoreError::from)?)
    }
}
