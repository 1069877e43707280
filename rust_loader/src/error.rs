//! One error type. Every variant says which file (or in-memory name) it is about; src/python/mod.rs maps each variant
//! to one Python type.

use std::io;
use std::path::Path;

use symphonia::core::errors::{Error as DecoderError, SeekErrorKind};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused: not there, no permission, read error.
    #[error("{name}: {source}")]
    Io { name: String, source: io::Error },
    /// The bytes contradict themselves: truncated, damaged, non-finite samples.
    #[error("{name}: {message}")]
    Corrupt { name: String, message: String },
    /// Not audio, or audio in a format that is not read here.
    #[error("{name}: {message}")]
    Unsupported { name: String, message: String },
    /// More channels, samples or memory than a sane file has.
    #[error("{name}: {message}")]
    Limit { name: String, message: String },
    /// A token shard or its index is not what it should be.
    #[error("{name}: {message}")]
    Shard { name: String, message: String },
    /// The system has not got the memory that a file or a call needs.
    #[error("{what}: needs {bytes} bytes of memory, which the system refused")]
    Memory { what: String, bytes: u128 },
    /// An argument is wrong.
    #[error("{0}")]
    Value(String),
    /// A key that the index does not hold.
    #[error("{name}: no track {key}")]
    Key { name: String, key: String },
    /// A signal arrived (Ctrl-C); the Python exception is already pending.
    #[error("interrupted")]
    Interrupted,
    /// A bug of ours, caught.
    #[error("internal error: {0}; this is a bug in musicgen_core's extension")]
    Internal(String),
}

impl Error {
    pub fn io(name: &Path, source: io::Error) -> Self {
        Self::Io { name: name.display().to_string(), source }
    }

    pub fn corrupt(name: &str, message: impl Into<String>) -> Self {
        Self::Corrupt { name: name.to_owned(), message: message.into() }
    }

    pub fn unsupported(name: &str, message: impl Into<String>) -> Self {
        Self::Unsupported { name: name.to_owned(), message: message.into() }
    }

    pub fn limit(name: &str, message: impl Into<String>) -> Self {
        Self::Limit { name: name.to_owned(), message: message.into() }
    }

    pub fn shard(name: &Path, message: impl Into<String>) -> Self {
        Self::Shard { name: name.display().to_string(), message: message.into() }
    }

    pub fn value(message: impl Into<String>) -> Self {
        Self::Value(message.into())
    }

    /// `doing` says at what the decoder was: "opening", "at 3.25 s".
    pub fn from_decoder(name: &str, doing: &str, error: DecoderError) -> Self {
        match error {
            DecoderError::IoError(source) if source.kind() == io::ErrorKind::InvalidInput => {
                Self::corrupt(name, format!("{doing}: it points outside the file")) // a seek to there
            }
            DecoderError::IoError(source) if source.raw_os_error().is_some() => {
                Self::Io { name: name.to_owned(), source }
            }
            DecoderError::IoError(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Self::corrupt(name, format!("{doing}: the file ends too early (truncated?)"))
            }
            DecoderError::IoError(source) => Self::corrupt(name, format!("{doing}: {source}")),
            DecoderError::DecodeError(message) => Self::corrupt(name, format!("{doing}: {message}")),
            DecoderError::Unsupported(message) => Self::unsupported(name, format!("{doing}: {message}")),
            DecoderError::LimitError(message) => Self::limit(name, format!("{doing}: {message}")),
            DecoderError::ResetRequired => Self::unsupported(
                name,
                format!("{doing}: another stream follows the first (chained files); split them"),
            ),
            DecoderError::SeekError(SeekErrorKind::Unseekable) => {
                Self::unsupported(name, format!("{doing}: not seekable"))
            }
            other => Self::corrupt(name, format!("{doing}: {other}")),
        }
    }
}
