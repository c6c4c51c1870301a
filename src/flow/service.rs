//! Ports that services commonly listen on.

/// Whether services commonly listen on `port`.
pub fn is_service(_port: u16) -> bool {
    false
}

/// Name of the service that commonly listens on `port` of `protocol`.
pub fn service_name(_port: u16, _protocol: u8) -> Option<&'static str> {
    None
}
