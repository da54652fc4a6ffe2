//! The one integration-test binary: the real `cdcql` program, driven as a person would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod capture;
mod check;
mod clients;
mod connections;
mod copies;
mod doctor;
mod evolution;
mod failures;
mod fence;
mod follow;
mod gap;
mod gated;
mod guarded;
mod handoff;
mod imports;
mod independent_reader;
mod interrupts;
mod kills;
mod large;
mod lookups;
mod maintain;
mod many_connections;
mod odd_names;
mod query;
mod random_changes;
mod readme;
mod record;
mod resume;
mod scale;
mod schemas;
mod secrets;
mod served;
mod servers;
mod several_flows;
mod simulate;
mod starts;
mod status;
mod stores;
mod story;
mod support;
mod types;
mod verify;
mod windows;
