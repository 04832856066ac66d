//! An S3 server in this process: its objects are files in a temporary folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The one bucket there is.
pub const BUCKET: &str = "profiles";
/// Whom it lets in.
pub const KEY_ID: &str = "tephra-tests";
/// With this.
pub const SECRET: &str = "a secret for tests";

/// A running server.
#[derive(Debug)]
pub struct S3 {
    address: SocketAddr,
    folder: TempDir,
    _runtime: Runtime,
}

impl S3 {
    /// Starts one with an empty bucket.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let files = FileSystem::new(folder.path()).expect("a folder of objects");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = service.build();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Answers are written in two pieces; waiting for the first one to be acknowledged takes 40 ms.
                let _ = socket.set_nodelay(true);
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that hangs up is its own business.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, folder, _runtime: runtime }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the bucket's objects lie as files, by name.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }
}
