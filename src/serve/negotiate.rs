//! Which format a client wants: `format=` by name, else the best of `Accept`; and which media type it sends. Source: RFC 9110, section 12.5.1.

use super::problem::Problem;
use crate::output::Format;
use axum::http::{HeaderMap, StatusCode, header};
use clap::ValueEnum;

/// The media type of each format that is served; `table` is for terminals alone.
const MEDIA_TYPES: [(&str, Format); 9] = [
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::Ndjson),
    ("text/csv", Format::Csv),
    ("application/vnd.apache.arrow.stream", Format::Arrow),
    ("application/vnd.apache.parquet", Format::Parquet),
    ("text/vnd.graphviz", Format::Dot),
    ("application/graphml+xml", Format::Graphml),
    ("text/vnd.mermaid", Format::Mermaid),
    ("application/vnd.cytoscape+json", Format::Cytoscape),
];

/// The media type of a format, with its charset where it is text that has one.
pub fn media_type(format: Format) -> String {
    let found = MEDIA_TYPES.iter().find(|(_, known)| *known == format);
    let media_type = found.map_or("text/plain", |(media_type, _)| media_type);
    match media_type.starts_with("text/") {
        true => format!("{media_type}; charset=utf-8"),
        false => media_type.to_owned(),
    }
}

/// The media type of a request's body, in lower case and without its parameters; `None` if it says none.
pub fn sent_media_type(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    said.split(';').next().map(|media_type| media_type.trim().to_ascii_lowercase())
}

/// The format to answer in, one of `offered`, whose first is the default.
///
/// # Errors
/// 400 for a `format` that is none of them, 406 if `Accept` takes none of them.
pub fn negotiate(format: Option<&str>, headers: &HeaderMap, offered: &[Format]) -> Result<Format, Problem> {
    let names = || offered.iter().map(Format::name).collect::<Vec<_>>().join(", ");
    if let Some(name) = format {
        let known = Format::from_str(name, false).ok().filter(|format| offered.contains(format));
        return known.ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, format!("format {name:?} is not served here"))
                .with_hint(format!("format is one of {}", names()))
        });
    }
    let accept: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect();
    if accept.iter().all(|range| range.trim().is_empty()) {
        return Ok(offered[0]);
    }
    // The best weight wins, among equals the more exact range, then the order of what is offered.
    let weighed = offered.iter().enumerate().filter_map(|(place, format)| {
        let (exactness, weight) = accept.iter().filter_map(|range| fits(range, *format)).max()?;
        (weight > 0).then_some(((weight, exactness, std::cmp::Reverse(place)), *format))
    });
    weighed.max_by_key(|(rank, _)| *rank).map(|(_, format)| format).ok_or_else(|| {
        Problem::new(StatusCode::NOT_ACCEPTABLE, format!("nothing of Accept: {} is served here", accept.join(",")))
            .with_hint(format!("ask with format=, one of {}, or for */*", names()))
    })
}

/// How exactly a range of `Accept` names `format` (0 to 2), and its weight in thousandths; `None` if it does not.
fn fits(range: &str, format: Format) -> Option<(u8, u16)> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let own = MEDIA_TYPES.iter().find(|(_, known)| *known == format)?.0;
    let exactness = match media_type.split_once('/')? {
        ("*", "*") => 0,
        (kind, "*") if own.split_once('/').is_some_and(|(own, _)| own == kind) => 1,
        _ if media_type == own => 2,
        _ => return None,
    };
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight = weight.map_or(Some(1.0), |text| text.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)))?;
    Some((exactness, (weight * 1000.0) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn chosen(accept: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        negotiate(None, &headers, &[Format::Json, Format::Ndjson, Format::Csv, Format::Arrow]).ok()
    }

    #[test]
    fn the_best_weight_and_then_the_most_exact_range_wins() {
        assert_eq!(chosen("*/*"), Some(Format::Json));
        assert_eq!(chosen("text/csv"), Some(Format::Csv));
        assert_eq!(chosen("text/*, application/json;q=0.5"), Some(Format::Csv));
        assert_eq!(chosen("text/csv;q=0.3, application/x-ndjson; q=0.8"), Some(Format::Ndjson));
        assert_eq!(chosen("text/html, */*;q=0.1"), Some(Format::Json));
        assert_eq!(chosen("*/*, application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(chosen("*/*, application/json;q=0"), Some(Format::Ndjson));
    }

    #[test]
    fn what_is_not_served_is_refused_and_named() {
        assert_eq!(chosen("image/png"), None);
        assert_eq!(chosen("text/csv;q=0"), None);
        let refused = negotiate(Some("table"), &HeaderMap::new(), &[Format::Json, Format::Csv]).unwrap_err();
        assert_eq!((refused.status, refused.hint.as_deref()), (400, Some("format is one of json, csv")));
        assert_eq!(negotiate(None, &HeaderMap::new(), &[Format::Csv]).unwrap(), Format::Csv);
    }
}
