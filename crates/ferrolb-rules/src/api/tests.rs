//! Tests of the API types: the definitions generated from them, what they read and write, and the conversion.

mod conversion;
mod definitions;
mod reading;
mod snapshot;
