//! What parameters may be, as the description of the API says it: made of the types, lists and bounds that requests are
//! read with, so that the two cannot part. In: those. Out: schemas. Source: JSON Schema 2020-12, as OpenAPI 3.1 takes it.

use super::etag::TAG_BYTES;
use super::jobs::LISTABLE;
use super::{ALL, GRAPHS, Options, ROWS};
use crate::diff::RATIO_MIN;
use crate::output::Format;
use crate::pipeline::jobs::Kind;
use std::ops::RangeInclusive;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr, Schema};
use utoipa::{Number, PartialSchema, ToSchema};

/// The name under which the description holds what [`page_rows`] allows: a setting decides.
const PAGE_ROWS: &str = "PageRows";

/// The rows that a page may have.
pub fn page_rows(options: &Options) -> RangeInclusive<u64> {
    1..=options.page_rows_max
}

/// Completes `description` with what the settings of the service decide.
pub fn complete(description: &mut OpenApi, options: &Options) {
    let schemas = &mut description.components.get_or_insert_default().schemas;
    schemas.insert(PAGE_ROWS.to_owned(), whole(page_rows(options)).description(Some("Rows of a page.")).into());
}

/// Types that stand for what a parameter may be, where the type that it is read as allows more.
macro_rules! stand_ins {
    ($($(#[$doc:meta])* $name:ident => $schema:expr,)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema.into()
                }
            }

            impl ToSchema for $name {}
        )*
    };
}

stand_ins! {
    /// `format` of rows.
    RowFormat => one_of(&ROWS),
    /// `format` of graphs.
    GraphFormat => one_of(&GRAPHS),
    /// `format` of what can be both.
    AnyFormat => one_of(&ALL),
    /// `limit` of a route that answers in pages.
    PageLimit => Ref::from_schema_name(PAGE_ROWS),
    /// `limit` of the list of jobs.
    JobsLimit => whole(LISTABLE),
    /// Where a page begins.
    Next => text().pattern(Some(format!("^[0-9a-f]{{{}}}-[0-9a-f]+$", 2 * TAG_BYTES))),
    /// How much a counter must have moved.
    Ratio => ObjectBuilder::new().schema_type(Type::Number).minimum(Some(RATIO_MIN)),
    /// An IP address of either family.
    Address => OneOfBuilder::new().item(family(KnownFormat::Ipv4)).item(family(KnownFormat::Ipv6)),
    /// A port.
    Port => whole(0..=u16::MAX),
    /// A protocol number.
    Protocol => whole(0..=u8::MAX),
    /// The windows of a job: as many as one of the kinds takes.
    JobWindows => ArrayBuilder::new()
        .items(text())
        .min_items(Some(Kind::Digest.windows()))
        .max_items(Some(Kind::Diff.windows())),
    /// The value of a statement's parameter.
    SqlValue => OneOfBuilder::new().item(text()).item(ObjectBuilder::new().schema_type(Type::Number)),
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// One of the names of `formats`.
fn one_of(formats: &[Format]) -> ObjectBuilder {
    text().enum_values(Some(formats.iter().map(Format::name)))
}

fn family(format: KnownFormat) -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(format)))
}

/// A whole number of `range`.
fn whole(range: RangeInclusive<impl Into<Number>>) -> ObjectBuilder {
    let (least, most) = range.into_inner();
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let number = number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    number.minimum(Some(least)).maximum(Some(most))
}
