//! Names of IANA protocol numbers.

/// Name of an IANA protocol number, lower case (`tcp`); `None` where the registry has none.
pub fn protocol_name(_number: u8) -> Option<&'static str> {
    None
}
