//! What the system knows of this process, and one thing it is told. Linux has the figures under `/proc`; elsewhere there
//! are none. The environment is not here: it comes as an argument.

/// Ticks of the CPU times in proc(5) in a second: the same on every Linux, whatever its kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// Has the kernel back the memory of this process with small pages only, from now on: what is freed of a large page
/// stays resident with the rest of it. Reading objects is a little faster with large ones, so this is for processes that
/// stay. Where the system cannot do it (no Linux), memory is less even and nothing else is lost.
pub fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "large pages cannot be switched off");
    }
}

/// CPU seconds so far, all threads, user and system.
pub fn cpu_seconds() -> Option<f64> {
    cpu_seconds_in(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Resident memory, bytes.
pub fn resident_memory_bytes() -> Option<u64> {
    bytes_in(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Highest resident memory so far, bytes.
pub fn peak_memory_bytes() -> Option<u64> {
    bytes_in(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Open files and sockets.
pub fn open_files() -> Option<u64> {
    // The folder itself is open while it is counted.
    std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as u64)
}

/// Fields 14 and 15, counted behind the name, which may hold anything.
fn cpu_seconds_in(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn bytes_in(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_any_name() {
        assert_eq!(bytes_in("Name:\ta\nVmRSS:\t  2048 kB\nThreads:\t1\n", "VmRSS:"), Some(2 << 20));
        assert_eq!(bytes_in("Name:\ta\n", "VmRSS:"), None);
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_seconds_in(stat), Some(2.0));
        assert_eq!(cpu_seconds_in("7 (a"), None);
    }

    #[test]
    fn this_process_uses_something() {
        assert!(resident_memory_bytes().unwrap() > 1 << 20);
        assert!(peak_memory_bytes() >= resident_memory_bytes());
        assert!(open_files().unwrap() > 2);
    }
}
