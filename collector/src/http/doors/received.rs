//! Profiles of others as windows.
