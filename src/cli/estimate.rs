//! `digest --dry-run`: what a digest would take, from the listing alone.

use super::setup::Setup;
use crate::digest::Builder;
use crate::error::Result;
use crate::window::Window;
use indicatif::HumanBytes;

/// The estimate in words.
pub(super) async fn estimate(setup: &Setup, builder: &Builder, window: &Window) -> Result<String> {
    let estimate = builder.estimate(window).await?;
    let prices = setup.config().prices;
    let requests = estimate.list_requests + estimate.put_requests;
    let dollars = prices.dollars(requests, estimate.get_requests, estimate.bytes);
    Ok(format!(
        "window {window}\n\
         objects {}\n\
         bytes {} ({})\n\
         requests {} LIST, {} GET, {} PUT\n\
         dollars {dollars:.6}\n",
        estimate.objects,
        estimate.bytes,
        HumanBytes(estimate.bytes),
        estimate.list_requests,
        estimate.get_requests,
        estimate.put_requests,
    ))
}
