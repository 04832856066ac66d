//! Objects in a bucket of S3-compatible storage: the same surface as a folder.
//!
//! A put is durable and visible to every reader once it is answered; that is what S3 promises, and what is asked of others.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};
use object_store::{Error, PutPayload, RetryConfig};
use tephra_proto::address::{has_secrets, printable};
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;

use super::bulk::{self, AsideObject, Bulk, BulkError, ObjectInfo};
use super::cache::Cache;

/// Where a bucket is. Credentials come from the environment, as for every S3 client: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
/// `AWS_SESSION_TOKEN`, `AWS_REGION`, or the role of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlace {
    /// Its name.
    pub bucket: String,
    /// In front of every object's name; empty, or without slashes at either end.
    pub prefix: String,
    /// URL of the server, when it is not Amazon's.
    pub endpoint: Option<String>,
}

impl BucketPlace {
    /// Reads `s3://bucket/prefix`.
    ///
    /// # Errors
    /// Says what is expected.
    pub fn parse(url: &str, endpoint: Option<&str>) -> Result<Self, String> {
        let expected = || "write s3://bucket or s3://bucket/prefix".to_owned();
        let rest = url.strip_prefix("s3://").ok_or_else(expected)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let named = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if bucket.is_empty() || !bucket.chars().all(named) {
            return Err(expected());
        }
        let prefix = prefix.trim_matches('/');
        if !prefix.chars().all(|c| named(c) || c == '/')
            || prefix.contains("//")
            || prefix.split('/').any(|part| part == "..")
        {
            return Err(format!("the prefix {prefix:?} may hold letters, digits, '-', '.', '_' and single slashes"));
        }
        if let Some(endpoint) = endpoint.filter(|endpoint| has_secrets(endpoint)) {
            return Err(format!(
                "the endpoint {:?} was given with a user, password, query or fragment (not shown): write only http://host:port or \
                 https://host; credentials are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                printable(endpoint)
            ));
        }
        if let Some(endpoint) = endpoint
            && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(format!("the endpoint {endpoint:?} is no URL: write http://host:port or https://host"));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned(), endpoint: endpoint.map(str::to_owned) })
    }
}

impl std::fmt::Display for BucketPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        self.endpoint.iter().try_for_each(|endpoint| write!(f, " at {endpoint}"))
    }
}

/// One request: an upload of a full batch over a slow line.
const REQUEST: Duration = Duration::from_secs(30);

/// With all its repeats. Agents wait for a few seconds; what takes longer they send again.
const RETRIES: Duration = Duration::from_secs(20);

/// Objects are read in pieces of this size: a request costs as much time as a quarter of a megabyte, and readers ask for a few
/// hundred bytes at a time.
const BLOCK: u64 = 256 << 10;

/// Whoever reads this much at once reads it once.
const UNCACHED: u64 = 8 << 20;

/// An open bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
    /// `<prefix>/<folder>`
    folder: Path,
}

#[derive(Debug)]
struct Shared {
    store: AmazonS3,
    place: BucketPlace,
    /// Pieces of objects that were read lately, by path and number. Objects never change, so they stay true.
    blocks: Cache<(String, u64), Arc<Vec<u8>>>,
    /// Requests run here, so that callers may block on them wherever they are. Only `Drop` takes it.
    runtime: Option<Runtime>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last owner may be an async task, which must not wait for threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bucket {
    /// Makes a client; nothing is sent yet. `cache_bytes`: memory for pieces of objects that were read lately.
    ///
    /// # Errors
    /// When the place or the environment makes no sense.
    pub fn open(place: &BucketPlace, folder: &str, cache_bytes: usize) -> Result<Self, BulkError> {
        let problem =
            |source: Error| BulkError::Bucket { what: "open", name: place.to_string(), source: Box::new(source) };
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: 8,
            retry_timeout: RETRIES,
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&place.bucket)
            .with_client_options(ClientOptions::new().with_timeout(REQUEST))
            .with_retry(retry);
        if let Some(endpoint) = &place.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let store = builder.build().map_err(problem)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("bucket").enable_all().build();
        let runtime = runtime.map_err(|source| BulkError::Io {
            what: "start threads for",
            path: place.to_string().into(),
            source,
        })?;
        let shared =
            Arc::new(Shared { store, place: place.clone(), blocks: Cache::new(cache_bytes), runtime: Some(runtime) });
        Ok(Self { folder: path(place, folder), shared })
    }

    /// The same bucket, another folder of it.
    #[must_use]
    pub fn beside(&self, folder: &str) -> Self {
        Self { folder: path(&self.shared.place, folder), shared: self.shared.clone() }
    }

    /// Writes an object unless there is one of this name. Answers what is there afterwards. Blocks.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub fn claim(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, BulkError> {
        let (path, payload) = (self.folder.clone().join(name), PutPayload::from(content.to_vec()));
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let found = self.wait("claim", name, move |store| async move {
            match store.put_opts(&path, payload, create).await {
                Ok(_) | Err(Error::AlreadyExists { .. }) => store.get(&path).await?.bytes().await,
                Err(error) => Err(error),
            }
        })?;
        Ok(found.to_vec())
    }

    /// Reads a whole object. Blocks.
    ///
    /// # Errors
    /// See [`BulkError`].
    pub fn get(&self, name: &str) -> Result<Vec<u8>, BulkError> {
        let path = self.folder.clone().join(name);
        self.wait("read", name, move |store| async move { Ok(store.get(&path).await?.bytes().await?.to_vec()) })
    }

    /// What lies from `start` to `end`, or to the object's end. Blocks.
    fn fetch(&self, name: &str, start: u64, end: u64) -> Result<Vec<u8>, BulkError> {
        let path = self.folder.clone().join(name);
        self.wait("read", name, move |store| async move {
            let range = Some(GetRange::Bounded(start..end));
            match store.get_opts(&path, GetOptions { range, ..GetOptions::default() }).await {
                Ok(found) => Ok(found.bytes().await?.to_vec()),
                Err(error @ Error::NotFound { .. }) => Err(error),
                // A range behind the end is an error to S3, and an empty answer to us.
                Err(error) => match store.head(&path).await {
                    Ok(about) if about.size <= start => Ok(Vec::new()),
                    Err(missing @ Error::NotFound { .. }) => Err(missing),
                    _ => Err(error),
                },
            }
        })
    }

    /// Says whether the bucket answers. Blocks.
    ///
    /// # Errors
    /// When it does not, or no longer holds what [`Bucket::claim`] wrote.
    pub fn ping(&self, name: &str) -> Result<(), BulkError> {
        let path = self.folder.clone().join(name);
        self.wait("reach", name, move |store| async move { store.head(&path).await.map(drop) })
    }

    /// What `read` makes of the objects of this folder.
    fn list_all<T: Send + 'static>(
        &self,
        read: impl Fn(&ObjectMeta) -> Option<T> + Send + 'static,
    ) -> Result<Vec<T>, BulkError> {
        let folder = self.folder.clone();
        self.wait("list", self.folder.as_ref(), move |store| async move {
            let mut found = store.list(Some(&folder));
            let mut objects = Vec::new();
            while let Some(object) = found.next().await {
                objects.extend(read(&object?));
            }
            Ok(objects)
        })
    }

    /// Gives an object another name; one that is not there is fine.
    fn rename(&self, name: &str, to: &str) -> Result<(), BulkError> {
        let (from, to) = (self.folder.clone().join(name), self.folder.clone().join(to));
        let moved = self.wait("set aside", name, move |store| async move {
            store.copy(&from, &to).await?;
            store.delete(&from).await
        });
        match moved {
            Err(BulkError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    fn remove(&self, name: String) -> Result<(), BulkError> {
        let path = self.folder.clone().join(name.as_str());
        match self.wait("remove", &name, move |store| async move { store.delete(&path).await }) {
            Err(BulkError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    fn wait<T, F>(&self, what: &'static str, name: &str, work: impl FnOnce(AmazonS3) -> F) -> Result<T, BulkError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let failed = |source| BulkError::Bucket { what, name: format!("{name} in {}", self.shared.place), source };
        let Some(runtime) = &self.shared.runtime else { return Err(failed("the bucket is closed".into())) };
        let (answer, answered) = mpsc::channel();
        let work = work(self.shared.store.clone());
        runtime.spawn(async move {
            // Whoever asked may be gone.
            let _ = answer.send(work.await);
        });
        match answered.recv() {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Error::NotFound { .. })) => Err(BulkError::Missing { name: name.to_owned() }),
            Ok(Err(error)) => Err(failed(Box::new(error))),
            Err(mpsc::RecvError) => Err(failed("the request was given up".into())),
        }
    }
}

fn path(place: &BucketPlace, folder: &str) -> Path {
    place.prefix.split('/').chain([folder]).filter(|part| !part.is_empty()).collect()
}

impl Bucket {
    fn put_as(&self, name: &str, content: &[u8]) -> Result<(), BulkError> {
        let (path, payload) = (self.folder.clone().join(name), PutPayload::from(content.to_vec()));
        self.wait("write", name, move |store| async move { store.put(&path, payload).await.map(drop) })
    }
}

impl Bulk for Bucket {
    fn put(&self, name: &str, content: &[u8]) -> Result<(), BulkError> {
        self.put_as(name, content)
    }

    fn get_range(&self, name: &str, offset: u64, bytes: usize) -> Result<Vec<u8>, BulkError> {
        let end = offset.saturating_add(bytes as u64);
        let (first, behind) = (offset / BLOCK, end.div_ceil(BLOCK));
        if bytes == 0 || bytes as u64 > UNCACHED {
            return if bytes == 0 { Ok(Vec::new()) } else { self.fetch(name, offset, end) };
        }
        let key = |block: u64| (format!("{}/{name}", self.folder), block);
        let mut found: Vec<Option<Arc<Vec<u8>>>> =
            (first..behind).map(|block| self.shared.blocks.get(&key(block))).collect();
        // One request for all that is missing, and for what lies between.
        let missing = |found: &[Option<_>]| {
            let from = found.iter().position(Option::is_none)?;
            Some((from, found.iter().rposition(Option::is_none)? + 1))
        };
        if let Some((from, until)) = missing(&found) {
            let start = (first + from as u64) * BLOCK;
            let fetched = self.fetch(name, start, (first + until as u64) * BLOCK)?;
            let mut fetched = fetched.chunks(BLOCK as usize);
            for (block, place) in (first..).zip(found.iter_mut()).take(until).skip(from) {
                // Behind the end there is nothing, and that is what is remembered.
                let content = Arc::new(fetched.next().unwrap_or_default().to_vec());
                self.shared.blocks.put(key(block), content.clone(), content.len() + 128);
                *place = Some(content);
            }
        }
        let mut content = Vec::with_capacity(bytes.min(1 << 20));
        for (block, part) in (first..).zip(found.iter().flatten()) {
            let start = block * BLOCK;
            let (from, until) = (offset.saturating_sub(start), (end - start).min(BLOCK));
            let part = part.get(from as usize..(until as usize).min(part.len())).unwrap_or_default();
            content.extend_from_slice(part);
        }
        Ok(content)
    }

    fn delete(&self, name: &str) -> Result<(), BulkError> {
        self.remove(name.to_owned())
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, BulkError> {
        let ours = |about: &ObjectMeta| {
            let name = about.location.filename().filter(|name| super::bulk::is_object_name(name))?.to_owned();
            Some(ObjectInfo { name, bytes: about.size, modified: about.last_modified.into() })
        };
        self.list_all(ours)
    }

    fn quarantine(&self, name: &str) -> Result<(), BulkError> {
        self.rename(name, &format!("{name}.quarantined"))
    }

    fn set_aside(&self, name: &str, now_s: u64) -> Result<(), BulkError> {
        self.rename(name, &AsideObject::called(name, now_s))
    }

    fn list_aside(&self) -> Result<Vec<AsideObject>, BulkError> {
        self.list_all(|about| AsideObject::read(about.location.filename()?, about.size))
    }

    fn delete_aside(&self, object: &AsideObject) -> Result<(), BulkError> {
        self.remove(object.file_name())
    }

    fn put_tombstone(&self, name: &str, content: &[u8]) -> Result<(), BulkError> {
        self.put_as(&bulk::tombstone_name(name), content)
    }

    fn tombstones(&self) -> Result<Vec<(String, Vec<u8>)>, BulkError> {
        let named = |about: &ObjectMeta| bulk::read_tombstone_name(about.location.filename()?).map(str::to_owned);
        let mut tombstones = Vec::new();
        for name in self.list_all(named)? {
            match self.fetch(&bulk::tombstone_name(&name), 0, bulk::TOMBSTONE_BYTES_MAX) {
                Ok(content) => tombstones.push((name, content)),
                Err(BulkError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tombstones)
    }

    fn delete_tombstone(&self, name: &str) -> Result<(), BulkError> {
        self.remove(bulk::tombstone_name(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_what_people_write() {
        let place = |url| BucketPlace::parse(url, None).map(|place| (place.bucket, place.prefix));
        assert_eq!(place("s3://profiles"), Ok(("profiles".to_owned(), String::new())));
        assert_eq!(place("s3://profiles/"), Ok(("profiles".to_owned(), String::new())));
        assert_eq!(place("s3://profiles/a/b/"), Ok(("profiles".to_owned(), "a/b".to_owned())));
        for bad in
            ["", "profiles", "s3://", "s3:///x", "https://profiles", "s3://pro files", "s3://p/a//b", "s3://p/../b"]
        {
            assert!(place(bad).is_err(), "{bad}");
        }
        for endpoint in ["http://key:hunter2@minio:9000", "http://minio:9000/?token=hunter2", "key:hunter2@minio"] {
            let error = BucketPlace::parse("s3://p", Some(endpoint)).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("AWS_SECRET_ACCESS_KEY"), "{error}");
        }
        let error = BucketPlace::parse("s3://p", Some("localhost:9000")).unwrap_err();
        assert!(error.contains("\"localhost:9000\"") && error.contains("http://host:port"), "{error}");
    }
}
