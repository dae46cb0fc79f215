//! What the kernel counts about this process (`process_…`), by the names that every Prometheus client uses.
//!
//! Read from `/proc` at each scrape. A figure that cannot be read is left out.

use std::fs;

use super::text::{Kind, Text};

/// Linux shows times in `/proc/PID/stat` in hundredths of a second, whatever the kernel's own tick is.
const TICKS_PER_SECOND: u32 = 100;

/// Writes what can be read.
pub(super) fn write(text: &mut Text) {
    let times = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| times(&stat));
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|stat| boot_time(&stat));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    let start = times.zip(boot).map(|(times, boot)| boot + times.start);
    let families = [
        ("process_cpu_seconds_total", Kind::Counter, "Processor time used, in seconds", times.map(|times| times.cpu)),
        ("process_open_fds", Kind::Gauge, "Open file descriptors", files.map(|count| count as f64)),
        ("process_resident_memory_bytes", Kind::Gauge, "Memory in RAM, in bytes", bytes(&status, "VmRSS:")),
        ("process_start_time_seconds", Kind::Gauge, "When the process started, in seconds since 1970", start),
        ("process_virtual_memory_bytes", Kind::Gauge, "Address space, in bytes", bytes(&status, "VmSize:")),
    ];
    for (name, kind, help, value) in families {
        text.family(name, kind, help, value.map(|value| ([], value)));
    }
}

/// Seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    /// Processor time, in user mode and in the kernel.
    cpu: f64,
    /// The start, counted from boot.
    start: f64,
}

/// From `/proc/PID/stat` (proc_pid_stat(5)). The second field is the name in parentheses and may hold anything.
fn times(stat: &str) -> Option<Times> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // The list begins with the third field.
    let seconds = |field: usize| Some(fields.get(field - 3)?.parse::<u64>().ok()? as f64 / f64::from(TICKS_PER_SECOND));
    Some(Times { cpu: seconds(14)? + seconds(15)?, start: seconds(22)? })
}

/// From `/proc/stat`: when the machine booted, in seconds since 1970.
fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// From `/proc/PID/status`: a size, which stands there in kB.
fn bytes(status: &str, key: &str) -> Option<f64> {
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix(" kB")?;
    Some(kilobytes.parse::<u64>().ok()? as f64 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_past_a_name_with_blanks_and_parentheses() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 200 18446744073709551615";
        assert_eq!(times(stat), Some(Times { cpu: 3.0, start: 123.45 }));
        assert_eq!(times("42 (a) S 1"), None);
    }

    #[test]
    fn sizes_and_boot_time_are_found_by_name() {
        assert_eq!(bytes("Name:\tx\nVmRSS:\t   2048 kB\n", "VmRSS:"), Some(2_097_152.0));
        assert_eq!(bytes("Name:\tx\n", "VmRSS:"), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }
}
