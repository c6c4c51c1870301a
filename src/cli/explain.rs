//! `explain`: the raw records behind an edge, each with its object and line.

use super::args::ExplainArgs;
use super::setup::Setup;
use crate::error::Result;
use crate::session::{Params, queries};
use crate::window::format_time;

pub(super) async fn run(setup: &Setup, args: ExplainArgs) -> Result<()> {
    setup.source()?;
    let window = setup.window(&args.window)?;
    let address = |text: &str| {
        text.parse::<std::net::IpAddr>()
            .map(|address| address.to_string())
            .map_err(|_| crate::error::Error::invalid(format!("{text:?} is not an address")))
    };
    let mut params = Params::from([
        ("start".to_owned(), format_time(window.start())),
        ("stop".to_owned(), format_time(window.stop())),
        ("srcaddr".to_owned(), address(&args.srcaddr)?),
        ("dstaddr".to_owned(), address(&args.dstaddr)?),
        ("limit".to_owned(), args.limit.to_string()),
    ]);
    for (name, value) in [
        ("port", args.port.map(|port| port.to_string())),
        ("protocol", args.protocol.map(|protocol| protocol.to_string())),
        ("interface_id", args.interface_id),
    ] {
        if let Some(value) = value {
            params.insert(name.to_owned(), value);
        }
    }
    let session = setup.session_with_tables().await?;
    let frame = session.plan_query(&queries::load("explain", None)?, &params, setup.clock.now()).await?;
    if setup.write_frame(frame).await? == 0 {
        setup.note("no record of the window is such");
    }
    Ok(())
}
