//! A stranger's tools on a host.

use crate::hosts::Host;

impl Host {
    /// The MAC address of an interface.
    pub(crate) fn mac(&self, interface: &str) -> String {
        // Not from /sys: that shows the namespace in which it was mounted.
        let (_, text) = self.sh(&format!("ip -o link show dev {interface}"));
        text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned()
    }

    /// What `arping` says: the MAC addresses that answered, one for each answer.
    pub(crate) fn arping(&self, address: &str) -> Vec<String> {
        let (_, text) = self.sh(&format!("arping -c 1 -w 1000000 -r -i eth0 {address}"));
        text.lines().map(|line| line.trim().to_lowercase()).filter(|line| line.len() == 17).collect()
    }
}
