//! Where the next page begins, bound to what the pages before it were made of.

use super::etag::Validator;
use super::problem::Problem;
use axum::http::StatusCode;

/// Opaque to clients: the tag of the whole and the row that the page begins with.
pub struct Cursor;

impl Cursor {
    /// The cursor of the page that begins with row `offset`.
    pub fn at(offset: u64, validator: &Validator) -> String {
        format!("{}-{offset:x}", validator.tag.trim_matches('"'))
    }

    /// The row that the page of `cursor` begins with.
    ///
    /// # Errors
    /// 400 for what is no cursor; 409 if it belongs to another request, or a digest has a newer version since.
    pub fn offset(cursor: &str, validator: &Validator) -> Result<u64, Problem> {
        let parts = cursor.split_once('-').and_then(|(tag, offset)| Some((tag, u64::from_str_radix(offset, 16).ok()?)));
        let Some((tag, offset)) = parts else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, format!("{cursor:?} is no cursor"))
                .with_hint("take it from next of the page before"));
        };
        if tag != validator.tag.trim_matches('"') {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "the cursor belongs to another request or to older digests",
            )
            .with_hint("begin again without a cursor"));
        }
        Ok(offset)
    }
}
