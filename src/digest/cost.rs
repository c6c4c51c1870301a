//! What the process has used so far, where the system tells.

/// CPU seconds of the process, all threads.
pub(super) fn cpu_seconds() -> Option<f64> {
    // Fields 14 and 15 of proc(5), counted behind the name, which may hold anything; in ticks of 1/100 s on Linux.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / 100.0)
}

/// Highest resident memory of the process so far, bytes.
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
