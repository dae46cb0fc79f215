//! Everything of FerroLB that touches the world. What is decided is decided in `ferrolb-rules` and `ferrolb-proto`;
//! here are sockets, files, processes and the command line.

pub mod cli;
pub mod controller;
pub mod drive;
pub mod durable;
pub mod findings;
pub mod http;
pub mod k8s;
pub mod lab;
pub mod logs;
pub mod look;
pub mod metrics;
pub mod net;
pub mod page;
pub mod source;
pub mod speaker;
pub mod standalone;
pub mod state;
pub mod tls;
