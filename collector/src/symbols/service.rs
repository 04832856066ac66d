//! The gRPC side: which builds are wanted, and their files.

use tephra_proto::ids::BuildId;
use tephra_proto::v1::symbol_service_server::SymbolService;
use tephra_proto::v1::{OfferRequest, OfferResponse, SymbolFile, UploadChunk, UploadResponse};
use tokio::task::spawn_blocking;
use tonic::{Request, Response, Status, Streaming};

use super::folder::{Filed, State};
use super::places::{Place, PlaceError};
use super::table::Detail;
use super::upload::{Incoming, Received, Upload, UploadError, announced};
use super::{Shared, Symbols, has_no_file, job};
use crate::base::clock::now_ms;

/// Builds in one offer: every module of a process.
const OFFER_FILES_MAX: usize = tephra_proto::limits::WINDOW_MODULES_MAX;

/// Answers `tephra.v1.SymbolService`.
#[derive(Debug, Clone)]
pub struct SymbolUploads {
    symbols: Symbols,
}

impl SymbolUploads {
    pub(super) fn new(symbols: Symbols) -> Self {
        Self { symbols }
    }

    fn wants(&self, file: &SymbolFile) -> Option<BuildId> {
        let id = announced(file).ok().filter(|_| !has_no_file(&file.name))?;
        let wanted = match self.symbols.shared.folder.state(&id) {
            None => true,
            Some(State::Ready { richness, .. }) => file.has_debug_info && richness.detail < Detail::Lines,
            // A file of another size is another file.
            Some(State::Failed(failure)) => failure.file_bytes != file.file_bytes || failure.is_over(now_ms()),
            Some(State::Busy) => false,
        };
        wanted.then_some(id).filter(|_| self.symbols.shared.room.free().is_ok())
    }

    /// Symbolizes in the background: the sender need not wait.
    fn symbolize(&self, received: Received, place: Place) {
        let symbols = self.symbols.clone();
        spawn_blocking(move || {
            symbols.symbolize(received);
            drop(place);
        });
    }
}

#[tonic::async_trait]
impl SymbolService for SymbolUploads {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<OfferResponse>, Status> {
        let files = request.into_inner().files;
        if files.len() > OFFER_FILES_MAX {
            let message = format!("offer has {} files, limit {OFFER_FILES_MAX}", files.len());
            return Err(Status::invalid_argument(message));
        }
        let wanted = files.iter().filter_map(|file| self.wants(file)).map(|id| id.as_bytes().to_vec()).collect();
        Ok(Response::new(OfferResponse { wanted }))
    }

    async fn upload(&self, request: Request<Streaming<UploadChunk>>) -> Result<Response<UploadResponse>, Status> {
        let place = self.symbols.shared.places.take()?;
        let mut stream = request.into_inner();
        let first = place.next(stream.message()).await??.ok_or(UploadError::Nameless)?;
        let file = first.file.ok_or(UploadError::Nameless)?;
        let id = announced(&file)?;
        let mut upload = self.symbols.begin(id, file.file_bytes)?.with_ends_withheld(file.ends_withheld);
        let mut frame = first.data;
        loop {
            let before = upload.received();
            upload = blocking(move || upload.chunk(&frame).map(|()| upload)).await?;
            place.received(upload.received() - before);
            match place.next(stream.message()).await?? {
                None => break,
                Some(chunk) if chunk.file.is_some() => return Err(UploadError::NamedTwice.into()),
                Some(chunk) => frame = chunk.data,
            }
        }
        place.complete();
        let received = blocking(move || upload.finish()).await?;
        let response = UploadResponse { file_bytes: received.bytes };
        self.symbolize(received, place);
        Ok(Response::new(response))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, Status> {
    match spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Status::internal("the upload was interrupted")),
    }
}

impl From<PlaceError> for Status {
    fn from(error: PlaceError) -> Self {
        UploadError::from(error).into()
    }
}

impl From<UploadError> for Status {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        match error {
            UploadError::Io(_) => Self::unavailable(message),
            UploadError::Place(PlaceError::TooSlow { .. }) => Self::deadline_exceeded(message),
            UploadError::Place(_) => Self::unavailable(format!("{message}: try again later")),
            // Agents come back to it in minutes, not at once.
            UploadError::Disk(_) => Self::resource_exhausted(message),
            UploadError::Busy(_) => Self::already_exists(message),
            _ => Self::invalid_argument(message),
        }
    }
}

impl Symbols {
    pub(super) fn begin(&self, id: BuildId, announced: u64) -> Result<Upload, UploadError> {
        let folder = &self.shared.folder;
        self.shared.room.check(0)?;
        let claim = folder.claim(id, announced).ok_or(UploadError::Busy(id))?;
        Upload::begin(claim, folder.incoming(&id), self.shared.room.clone(), announced)
    }

    /// Blocks until the child process is done; answers what became of the table, if there is one.
    pub(super) fn symbolize(&self, received: Received) -> Option<Filed> {
        let Received { claim, path, .. } = received;
        // What others made of the build is to be compared with.
        if let Some(known @ State::Ready { .. }) = &claim.before {
            self.shared.resolver.read(&claim.id, known).ok();
        }
        let out = Incoming::new(self.shared.folder.incoming(&claim.id), self.shared.room.clone());
        let Shared { worker, memory, room, .. } = &*self.shared;
        job::run(worker, memory, room, claim, path.path(), out.path())
    }
}
