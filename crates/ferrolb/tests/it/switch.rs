//! A switch, and hosts of 192.168.1.0/24 on it: the LAN of most tests.

use crate::hosts::Host;

/// A bridge, `br0`, in a namespace of its own. It floods multicast, as switches do that do not snoop.
pub(crate) fn switch() -> Host {
    let switch = Host::new();
    switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
    switch.ip("link set br0 up");
    switch
}

/// A host whose `eth0`, 192.168.1.`number`, is on port `p{number}` of the switch.
pub(crate) fn plug(switch: &Host, number: u8) -> Host {
    let host = Host::new();
    switch.join(&format!("p{number}"), &host, "eth0");
    switch.ip(&format!("link set p{number} master br0"));
    host.ip(&format!("addr add 192.168.1.{number}/24 dev eth0"));
    host
}
