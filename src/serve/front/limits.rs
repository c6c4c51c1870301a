//! How much one client, and all of them, may ask for at once. In: who asks. Out: a turn, or when to ask again.

use super::access::Identity;
use crate::serve::{Options, Problem};
use axum::http::StatusCode;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Addresses share so many rates: what is kept does not grow with the number of clients.
const ADDRESS_RATES: u64 = 1 << 16;
/// When to ask again while others are being answered.
const BUSY_RETRY_SECONDS: u64 = 1;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    Token(Arc<str>),
    Address(u64),
}

/// Requests a second of one client.
#[derive(Debug)]
pub(super) struct Rate {
    limiter: Option<DefaultKeyedRateLimiter<Client>>,
    /// Nobody outside can tell which addresses share a rate.
    hasher: RandomState,
}

impl Rate {
    /// The rate of the settings, or none.
    pub(super) fn new(options: &Options) -> Rate {
        let burst = NonZeroU32::new(options.rate_burst).unwrap_or(NonZeroU32::MIN);
        let quota = NonZeroU32::new(options.rate_per_second).map(|rate| Quota::per_second(rate).allow_burst(burst));
        Rate { limiter: quota.map(DefaultKeyedRateLimiter::keyed), hasher: RandomState::new() }
    }

    /// Counts a request of somebody; of `anonymous` and of nobody, by the address.
    ///
    /// # Errors
    /// 429 with the time after which the next would pass.
    pub(super) fn count(&self, identity: Option<&Identity>, address: Option<IpAddr>) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let client = match identity.filter(|identity| !identity.is_anonymous()) {
            Some(identity) => Client::Token(identity.name.clone()),
            None => Client::Address(self.hasher.hash_one(address.map(network)) % ADDRESS_RATES),
        };
        limiter.check_key(&client).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests a second")
                .with_hint("wait, or raise serve.rate_per_second")
                .with_retry_after(wait.as_secs() + 1)
        })
    }
}

/// The part of an address that is one customer's: of IPv6, the first 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// Requests at once, the answers under way included.
#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

/// A turn, until its answer ended.
#[derive(Clone, Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held, not looked at")] Arc<OwnedSemaphorePermit>);

impl Turns {
    /// So many turns.
    pub(super) fn new(requests_max: usize) -> Turns {
        Turns(Arc::new(Semaphore::new(requests_max.min(Semaphore::MAX_PERMITS))))
    }

    /// A turn, if one is free.
    ///
    /// # Errors
    /// 503 with the time after which to ask again.
    pub(super) fn take(&self) -> Result<Turn, Problem> {
        let permit = self.0.clone().try_acquire_owned().map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once")
                .with_hint("wait, or raise serve.requests_max")
                .with_retry_after(BUSY_RETRY_SECONDS)
        })?;
        Ok(Turn(Arc::new(permit)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::access::Role;
    use super::*;

    #[test]
    fn each_token_has_its_own_rate_and_addresses_share_a_bounded_number() {
        let rate = Rate::new(&Options { rate_per_second: 1, rate_burst: 2, ..Options::default() });
        let (one, two) = (Identity::new("one", &[Role::Read]), Identity::new("two", &[Role::Read]));
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        for identity in [Some(&one), Some(&two), None] {
            assert!(rate.count(identity, address).is_ok() && rate.count(identity, address).is_ok());
            let refused = rate.count(identity, address).unwrap_err();
            assert_eq!((refused.status, refused.retry_after), (429, Some(1)));
        }
        assert!(rate.count(Some(&one), Some(IpAddr::from([192, 0, 2, 2]))).is_err(), "a token is not its address");
        for number in 0..300_000_u32 {
            let _ = rate.count(None, Some(IpAddr::V4(number.into())));
        }
        assert!(rate.limiter.as_ref().unwrap().len() as u64 <= ADDRESS_RATES + 2);
    }

    #[test]
    fn a_customer_with_many_ipv6_addresses_is_one_client() {
        let one: IpAddr = "2001:db8:1:2::1".parse().unwrap();
        let two: IpAddr = "2001:db8:1:2:ffff::2".parse().unwrap();
        assert_eq!(network(one), network(two));
        assert_ne!(network(one), network("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from([192, 0, 2, 1]));
    }

    #[test]
    fn without_a_rate_nothing_is_counted_and_turns_come_back() {
        let rate = Rate::new(&Options::default());
        assert!((0..10_000).all(|_| rate.count(None, None).is_ok()));
        let turns = Turns::new(1);
        let turn = turns.take().unwrap();
        assert_eq!(turns.take().unwrap_err().status, 503);
        drop(turn);
        assert!(turns.take().is_ok());
    }
}
