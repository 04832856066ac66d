//! `tephra.v1.ProfileService`: the edge that agents talk to.

use tephra_proto::limits::PAYLOAD_COMPRESSED_BYTES_MAX;
use tephra_proto::v1::profile_service_server::{ProfileService, ProfileServiceServer};
use tephra_proto::v1::{PushRequest, PushResponse};
use tonic::{Code, Request, Response, Status};

use super::{Ingest, PushError, admit};

/// A full payload, and room for its header.
const MESSAGE_BYTES_MAX: usize = PAYLOAD_COMPRESSED_BYTES_MAX + (64 << 10);

/// The gRPC service over an [`Ingest`].
pub fn service(ingest: Ingest) -> ProfileServiceServer<Profiles> {
    ProfileServiceServer::new(Profiles { ingest }).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// See [`service`].
#[derive(Debug)]
pub struct Profiles {
    ingest: Ingest,
}

#[tonic::async_trait]
impl ProfileService for Profiles {
    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        match self.ingest.push(request.into_inner()).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(status(&error)),
        }
    }
}

fn status(error: &PushError) -> Status {
    match error {
        PushError::Refused(rejection) => Status::new(Code::InvalidArgument, rejection.to_string()),
        PushError::Overloaded { .. } => admit::overloaded("the collector is busy"),
        PushError::Unavailable(problem) => Status::new(Code::Unavailable, problem.clone()),
    }
}
