//! OpenTelemetry's protocol for profiles.
