//! What requests cost: counts of them, and prices.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Requests sent to S3, retries and pages included, and the bytes of their bodies.
#[derive(Debug, Default)]
pub struct Usage {
    /// LIST requests, one for each page.
    pub list: AtomicU64,
    /// GET and HEAD requests.
    pub get: AtomicU64,
    /// PUT, POST and COPY requests.
    pub put: AtomicU64,
    /// DELETE requests, which cost nothing.
    pub delete: AtomicU64,
    /// Bytes of answers to GET.
    pub bytes_read: AtomicU64,
}

/// Prices of S3, in dollars. The defaults are those of us-east-1 in 2026, for a reader in the bucket's region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// A thousand PUT, POST, COPY or LIST requests.
    pub put_thousand: f64,
    /// A thousand GET or HEAD requests.
    pub get_thousand: f64,
    /// A GB (10^9 bytes) read: nothing within a region, 0.09 over the Internet.
    pub read_gb: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Prices { put_thousand: 0.005, get_thousand: 0.0004, read_gb: 0.0 }
    }
}

impl Prices {
    /// Dollars for so many requests and bytes; LIST requests cost what PUT requests do.
    pub fn dollars(&self, put_and_list: u64, get: u64, bytes_read: u64) -> f64 {
        let thousands = |count: u64| count as f64 / 1e3;
        thousands(put_and_list) * self.put_thousand
            + thousands(get) * self.get_thousand
            + bytes_read as f64 / 1e9 * self.read_gb
    }
}

impl Usage {
    /// Whether nothing was asked of S3.
    pub fn is_empty(&self) -> bool {
        [&self.list, &self.get, &self.put, &self.delete].iter().all(|count| count.load(Relaxed) == 0)
    }

    /// Dollars for what was asked so far.
    pub fn dollars(&self, prices: &Prices) -> f64 {
        let put_and_list = self.put.load(Relaxed) + self.list.load(Relaxed);
        prices.dollars(put_and_list, self.get.load(Relaxed), self.bytes_read.load(Relaxed))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage { list, get, put, delete, bytes_read } = self;
        let [list, get, put, delete, bytes] = [list, get, put, delete, bytes_read].map(|count| count.load(Relaxed));
        write!(f, "{list} LIST, {get} GET, {put} PUT, {delete} DELETE requests, {bytes} bytes read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_of_each_costs_what_the_price_list_says() {
        let usage = Usage::default();
        assert!(usage.is_empty());
        usage.list.store(500_000, Relaxed);
        usage.put.store(500_000, Relaxed);
        usage.get.store(1_000_000, Relaxed);
        usage.bytes_read.store(10_000_000_000, Relaxed);
        let prices = Prices { read_gb: 0.09, ..Prices::default() };
        assert!((usage.dollars(&prices) - (5.0 + 0.4 + 0.9)).abs() < 1e-9);
        assert!(!usage.is_empty());
    }
}
