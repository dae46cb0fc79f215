//! Wi-Fi, as the kernel's directory of network interfaces shows it.

use std::path::Path;

/// Where the kernel lists the interfaces of the network namespace that it was mounted in.
pub const INTERFACES: &str = "/sys/class/net";

/// Whether a network interface is a wireless one, as this directory tells.
pub fn is_wireless(directory: &Path, interface: &str) -> bool {
    ["wireless", "phy80211"].iter().any(|sign| directory.join(interface).join(sign).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wireless_interface_is_known_by_the_kernels_directory() {
        let directory = tempfile::tempdir().unwrap();
        for (name, sign) in [("wlan0", "wireless"), ("wlan1", "phy80211"), ("eth0", "queues")] {
            std::fs::create_dir_all(directory.path().join(name).join(sign)).unwrap();
        }
        let wireless = |name| is_wireless(directory.path(), name);
        assert_eq!(
            [wireless("wlan0"), wireless("wlan1"), wireless("eth0"), wireless("gone")],
            [true, true, false, false]
        );
    }
}
