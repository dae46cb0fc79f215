//! Tests of the table of reasons.
