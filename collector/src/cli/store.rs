//! Which store a command is about: one folder, or what several collectors share.

use std::path::PathBuf;

use tephra_proto::address::printable;

use crate::store::bucket::BucketPlace;
use crate::store::place::{Place, Postgres};

/// The options, the same for every command that opens a store.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StoreArgs {
    /// Folder of the store; `serve` and `restore` make it if it is not there. With --bucket: a cache of this process
    #[arg(long, env = "TEPHRA_DATA", value_name = "DIR", default_value = "./tephra-data")]
    data: PathBuf,
    /// PostgreSQL that several collectors share, such as postgres://user@host/database; a password may be in PGPASSWORD
    #[arg(long, env = "TEPHRA_CATALOG", hide_env_values = true, value_name = "URL", requires = "bucket", value_parser = Postgres::parse)]
    catalog: Option<Postgres>,
    /// Bucket that they share, such as s3://bucket/prefix; credentials are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long, env = "TEPHRA_BUCKET", hide_env_values = true, value_name = "URL", requires = "catalog")]
    bucket: Option<String>,
    /// URL of the bucket's server, when it is not Amazon's
    #[arg(long, env = "TEPHRA_S3_ENDPOINT", hide_env_values = true, value_name = "URL", requires = "bucket")]
    s3_endpoint: Option<String>,
}

impl StoreArgs {
    /// Where it is.
    ///
    /// # Errors
    /// Says what is wrong with the address of the bucket, without a password that it may hold.
    pub(super) fn place(self) -> Result<Place, String> {
        let Self { data, catalog, bucket, s3_endpoint } = self;
        let (Some(catalog), Some(bucket)) = (catalog, bucket) else { return Ok(Place::Folder(data)) };
        let bucket = BucketPlace::parse(&bucket, s3_endpoint.as_deref())
            .map_err(|why| format!("--bucket {:?}: {why}", printable(&bucket)))?;
        Ok(Place::Shared { data, catalog, bucket })
    }
}
