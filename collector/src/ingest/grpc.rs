//! `tephra.v1.ProfileService`: the edge that agents talk to.

use tephra_proto::v1::profile_service_server::{ProfileService, ProfileServiceServer};
use tephra_proto::v1::{PushRequest, PushResponse};
use tonic::{Code, Request, Response, Status};

use super::{BodyMemory, Ingest, MESSAGE_BYTES_MAX, PushError, admit};

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
    async fn push(&self, mut request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        // From here on the budget counts the body: its memory is for the next one.
        let memory = request.extensions_mut().remove::<BodyMemory>();
        match self.ingest.push_counted(request.into_inner(), memory).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(status(&error)),
        }
    }
}

fn status(error: &PushError) -> Status {
    match error {
        PushError::Refused(rejection) => Status::new(Code::InvalidArgument, rejection.to_string()),
        PushError::Overloaded { retry_after_ms } => admit::overloaded("the collector is busy", *retry_after_ms),
        PushError::Full { full, retry_after_ms } => admit::overloaded(&full.to_string(), *retry_after_ms),
        PushError::Unavailable(problem) => Status::new(Code::Unavailable, problem.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Full;
    use super::*;

    #[test]
    fn whoever_finds_no_room_is_told_to_keep_the_window_and_when_to_come_again() {
        let full = Full::Services { service: "shop".to_owned(), limit: 7 };
        let status = status(&PushError::Full { full, retry_after_ms: 25_000 });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "25000");
        assert!(status.message().contains("\"shop\"") && status.message().contains('7'), "{}", status.message());
    }
}
