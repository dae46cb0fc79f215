//! Linux as it is: packet sockets, netlink, namespaces. The only `unsafe` of the program lives below this module, each
//! piece wrapped so that nothing outside can misuse it.

pub mod default_route;
#[expect(unsafe_code, reason = "a socket option that no crate wraps")]
pub mod icmp6;
pub mod namespace;
pub mod netlink;
#[expect(unsafe_code, reason = "scheduling policies, which no crate of ours wraps")]
pub mod priority;
#[expect(unsafe_code, reason = "socket addresses of families that no crate wraps")]
pub mod raw;
#[expect(unsafe_code, reason = "socket options that no crate wraps")]
pub mod tcp;
pub mod wireless;
