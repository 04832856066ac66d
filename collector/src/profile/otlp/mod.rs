//! OpenTelemetry profiles (`opentelemetry.proto.profiles.v1development`, as of 1.10 of the protocol): pprof with its tables shared by all
//! profiles of a message, one type to a profile, and links to traces.
//!
//! Field numbers: <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/profiles/v1development/profiles.proto>.
//! Only fields that are used are read; no table outgrows its limit.

mod dictionary;
mod numbering;
mod profiles;
mod window;

pub use profiles::{Parts, decode};
pub use window::{Part, Resource};
