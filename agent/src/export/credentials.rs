//! The token by which a collector knows this agent: sent with every call, never shown.

use std::io::Read;
use std::path::{Path, PathBuf};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::notice::Notice;

/// Bytes of a token.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// What is sent besides windows and symbols, if anything.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    /// As it is sent. Of a file: what was last good.
    header: Option<MetadataValue<Ascii>>,
    /// Read again for every call: a call is rare, and who renews the token need not tell anybody.
    file: Option<PathBuf>,
}

/// Never the token.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.header.as_ref().map(|_| "…"))
            .field("file", &self.file)
            .finish()
    }
}

/// Why a token is none. Says nothing of what it holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {TOKEN_BYTES_MAX} bytes")]
    Long,
    #[error("it holds spaces, or characters that are not printable ASCII")]
    Strange,
    #[error("its file cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
}

impl Credentials {
    /// A token that stays the same.
    pub(crate) fn of_token(token: &str) -> Result<Self, TokenError> {
        Ok(Self { header: Some(header(token)?), file: None })
    }

    /// A token that somebody may renew.
    pub(crate) fn of_file(path: &Path) -> Result<Self, TokenError> {
        Ok(Self { header: Some(read(path)?), file: Some(path.to_owned()) })
    }

    /// Whether there is anything to keep secret.
    pub(crate) fn is_secret(&self) -> bool {
        self.header.is_some()
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(path) = &self.file {
            match read(path) {
                Ok(renewed) => self.header = Some(renewed),
                Err(why) => {
                    static UNREADABLE: Notice = Notice::new();
                    let path = path.display();
                    UNREADABLE.say(&format!("no token in {path}, the one of before is sent on: {why}"));
                }
            }
        }
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

fn read(path: &Path) -> Result<MetadataValue<Ascii>, TokenError> {
    let mut text = String::new();
    // One byte more than may be, and room for the end of its line.
    std::fs::File::open(path)?.take(TOKEN_BYTES_MAX + 3).read_to_string(&mut text)?;
    header(text.trim_ascii())
}

fn header(token: &str) -> Result<MetadataValue<Ascii>, TokenError> {
    if token.is_empty() {
        return Err(TokenError::Empty);
    }
    if token.len() as u64 > TOKEN_BYTES_MAX {
        return Err(TokenError::Long);
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Strange);
    }
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| TokenError::Strange)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(credentials: &mut Credentials) -> Option<String> {
        let request = credentials.call(Request::new(())).unwrap();
        let value = request.metadata().get("authorization")?;
        assert!(value.is_sensitive());
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_is_sent_and_never_shown() {
        assert_eq!(sent(&mut Credentials::default()), None);
        let mut credentials = Credentials::of_token("hunter2").unwrap();
        assert_eq!(sent(&mut credentials).as_deref(), Some("Bearer hunter2"));
        let shown = format!("{credentials:?} {:?}", credentials.call(Request::new(())).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_token_in_a_file_is_read_again_and_a_bad_one_changes_nothing() {
        let path = std::env::temp_dir().join(format!("tephra-token-{}", std::process::id()));
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("first\n");
        let mut credentials = Credentials::of_file(&path).unwrap();
        assert_eq!(sent(&mut credentials).as_deref(), Some("Bearer first"));
        write("second\r\n");
        assert_eq!(sent(&mut credentials).as_deref(), Some("Bearer second"));
        for bad in ["", "\n", "two words", "é", &"x".repeat(5_000)] {
            write(bad);
            assert_eq!(sent(&mut credentials).as_deref(), Some("Bearer second"), "{bad:?}");
            assert!(Credentials::of_file(&path).is_err());
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(sent(&mut credentials).as_deref(), Some("Bearer second"));
        assert!(matches!(Credentials::of_file(&path), Err(TokenError::Unreadable(_))));
    }

    #[test]
    fn the_longest_token_is_taken_and_one_byte_more_is_not() {
        assert!(Credentials::of_token(&"x".repeat(4_096)).is_ok());
        assert!(matches!(Credentials::of_token(&"x".repeat(4_097)), Err(TokenError::Long)));
    }
}
