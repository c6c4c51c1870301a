//! Judges plans: what they may do, what their parameters are, and why one could not be made.

use super::{Params, Query, functions};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::window::parse_time;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::Statement;
use std::collections::BTreeMap;

/// Statements that do more than read, by their first word: refused by the word that the user wrote.
const REFUSED_VERBS: [&str; 13] = [
    "ALTER",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DELETE",
    "DROP",
    "EXECUTE",
    "INSERT",
    "MERGE",
    "PREPARE",
    "SET",
    "TRUNCATE",
    "UPDATE",
];

/// Refuses a statement that is known to do more than read. What it lets pass is judged by [`check_read_only`].
pub(super) fn check_verb(statement: &Statement) -> Result<()> {
    let text = statement.to_string();
    match text.split_whitespace().next() {
        Some(verb) if REFUSED_VERBS.contains(&verb) => Err(refusal(verb)),
        _ => Ok(()),
    }
}

fn refusal(verb: &str) -> Error {
    Error::invalid(format!("{verb} is not allowed: SQL here only reads"))
        .with_hint("write a query, EXPLAIN, DESCRIBE or SHOW")
}

/// Refuses every plan that does more than read registered tables.
///
/// Whatever is not known to read is refused: a new kind of node in DataFusion does not compile until it is judged here.
pub(super) fn check_read_only(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let refused = match node {
            LogicalPlan::Ddl(statement) => statement.name().to_owned(),
            LogicalPlan::Dml(statement) => statement.op.to_string().to_uppercase(),
            LogicalPlan::Copy(_) => "COPY".to_owned(),
            LogicalPlan::Statement(statement) => statement.name().to_owned(),
            LogicalPlan::Extension(extension) => extension.node.name().to_owned(),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => return Ok(TreeNodeRecursion::Continue),
        };
        Err(refusal(&refused).into())
    })?;
    Ok(())
}

/// Refuses a bound plan that calls a function of ours with a literal that can never be right.
pub(super) fn check_literals(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| functions::check_literals(expr).map(|()| TreeNodeRecursion::Continue).map_err(Into::into))
        })
    })?;
    Ok(())
}

/// Types the texts of `params` by what the plan compares them with.
pub(super) fn infer_values(plan: &LogicalPlan, params: &Params, now: Timestamp) -> Result<Vec<(String, ScalarValue)>> {
    let types = parameter_types(plan)?;
    let takes = |ids: Vec<&str>| match ids.len() {
        0 => "the statement takes no parameters".to_owned(),
        _ => format!("the statement takes {}", ids.join(", ")),
    };
    let hint = || takes(types.keys().map(String::as_str).collect());
    if let Some(unknown) = params.keys().find(|name| !types.contains_key(&format!("${name}"))) {
        return Err(Error::invalid(format!("the statement has no parameter ${unknown}")).with_hint(hint()));
    }
    let value = |(id, data_type): (&String, &DataType)| {
        let name = id.trim_start_matches('$');
        let text =
            params.get(name).ok_or_else(|| Error::invalid(format!("parameter {id} has no value")).with_hint(hint()))?;
        Ok((name.to_owned(), typed_value(id, text, data_type, now)?))
    };
    types.iter().map(value).collect()
}

/// The type of each parameter: what DataFusion infers, a number in LIMIT and OFFSET, else text.
fn parameter_types(plan: &LogicalPlan) -> Result<BTreeMap<String, DataType>> {
    let fields = plan.get_parameter_fields()?.into_iter();
    let mut types: BTreeMap<String, DataType> =
        fields.map(|(id, field)| (id, field.map_or(DataType::Utf8View, |field| field.data_type().clone()))).collect();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for expr in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(placeholder) = expr.as_ref() {
                    types.insert(placeholder.id.clone(), DataType::Int64);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(types)
}

fn typed_value(id: &str, text: &str, data_type: &DataType, now: Timestamp) -> Result<ScalarValue> {
    if let DataType::Timestamp(..) = data_type {
        let instant = parse_time(text, now).map_err(|error| error.context(format!("read parameter {id}")))?;
        return Ok(timestamp_value(instant));
    }
    ScalarValue::from(text).cast_to(data_type).map_err(|error| {
        Error::invalid(format!("parameter {id} is {text:?}, which is not of type {data_type}")).with_source(error)
    })
}

/// An instant in the unit of the table `flows` where that holds it exactly, so that pruning sees through no cast.
pub(super) fn timestamp_value(instant: Timestamp) -> ScalarValue {
    let zone = Some("UTC".into());
    match instant.timestamp_subsec_nanos() {
        0 => ScalarValue::TimestampSecond(Some(instant.timestamp()), zone),
        _ => ScalarValue::TimestampMicrosecond(Some(instant.timestamp_micros()), zone),
    }
}

/// Refuses a query whose text uses a parameter that its header does not declare.
pub(super) fn check_declared(plan: &LogicalPlan, query: &Query) -> Result<()> {
    let used = plan.get_parameter_fields()?;
    match used.keys().map(|id| id.trim_start_matches('$')).find(|id| query.params.iter().all(|param| param.name != *id))
    {
        Some(name) => {
            Err(Error::invalid(format!("query {} uses ${name}, which its header does not declare", query.name))
                .with_hint(format!("add `${name} TYPE` to the line `-- params:`")))
        }
        None => Ok(()),
    }
}

/// Makes DataFusion's planning error ours: its words and its position, and a hint that names what does exist.
pub(super) fn explain(error: DataFusionError, tables: &[String]) -> Error {
    let place = error
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .map_or(String::new(), |span| format!(" (line {}, column {})", span.start.line, span.start.column));
    if let Some((field, valid)) = missing_column(&error) {
        let names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).collect();
        return Error::invalid(format!("no column {}{place}", field.flat_name())).with_hint(column_hint(field, &names));
    }
    let ours = Error::from(error);
    let message = without_coercion(ours.to_string());
    let missing_table =
        message.split_once("table 'datafusion.public.").and_then(|(_, rest)| rest.split_once("' not found"));
    if let Some((table, _)) = missing_table {
        let error = Error::invalid(format!("no table {table}{place}"));
        return if tables.is_empty() {
            error
        } else {
            error.with_hint(format!("the tables are {}", tables.join(", ")))
        };
    }
    if let Some((name, near)) = missing_function(&message) {
        let ours = functions::function_names();
        let near = near_names(name, &ours).into_iter().next().unwrap_or_else(|| near.to_owned());
        return Error::invalid(format!("no function {name}{place}")).with_hint(format!("did you mean {near}?"));
    }
    let message = plain(&message);
    match message == ours.to_string() && place.is_empty() {
        true => ours,
        false => Error::new(ours.kind(), format!("{message}{place}")),
    }
}

/// What a function of ours says of the types it was given, without the words that DataFusion puts around it.
fn without_coercion(message: String) -> String {
    let inner = message.split_once("user-defined coercion failed with: External error: ");
    match inner.and_then(|(_, rest)| rest.split_once(". No function matches")) {
        Some((inner, _)) => inner.to_owned(),
        None => message,
    }
}

/// The function that DataFusion does not find, and the one that it thinks was meant.
fn missing_function(message: &str) -> Option<(&str, &str)> {
    let (name, rest) = message.split_once("Invalid function '")?.1.split_once("'.")?;
    Some((name, rest.split_once("Did you mean '")?.1.split_once('\'')?.0))
}

/// The message without DataFusion's words for the stage that found the fault.
fn plain(message: &str) -> String {
    if message.contains("only supports a single SQL statement") {
        return "this is more than one statement: give one at a time".to_owned();
    }
    if message.contains("No SQL statements were provided") {
        return "there is no statement: write one, such as SELECT * FROM windows".to_owned();
    }
    let message = message.strip_prefix("Error during planning: ").unwrap_or(message);
    let parser =
        message.strip_prefix("SQL error: ").and_then(|rest| rest.split_once("Error(\"")?.1.strip_suffix("\")"));
    match parser {
        Some(inner) => format!("cannot read the statement: {}", inner.replace("\\\"", "\"")),
        None => message.to_owned(),
    }
}

fn missing_column(error: &DataFusionError) -> Option<(&Column, &[Column])> {
    match error {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => Some((field, valid_fields)),
            _ => None,
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => missing_column(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(missing_column),
        _ => None,
    }
}

/// How many near names a hint lists.
const NEAR_NAMES_MAX: usize = 5;

fn column_hint(field: &Column, names: &[&str]) -> String {
    let near = near_names(&field.name, names);
    let extra = "fields that flowdiff does not know are columns of flows if the setting scan.extra_fields names them";
    match (near.is_empty(), names.is_empty()) {
        (false, _) => format!("did you mean {}? {extra}", near.join(", ")),
        (true, false) if names.len() <= 3 * NEAR_NAMES_MAX => {
            format!("text is written in single quotes; the columns are {}; {extra}", names.join(", "))
        }
        _ => format!("text is written in single quotes; DESCRIBE a table to see its columns; {extra}"),
    }
}

/// The names that are most like `wanted`, best first.
pub(crate) fn near_names(wanted: &str, names: &[&str]) -> Vec<String> {
    let wanted = wanted.to_lowercase().replace('-', "_");
    let mut near: Vec<(usize, &str)> = names
        .iter()
        .map(|name| {
            let distance = edit_distance(&wanted, name);
            let contains = name.contains(&wanted) || wanted.contains(name);
            (if contains { distance.min(1) } else { distance }, *name)
        })
        .filter(|(distance, name)| *distance <= name.len().max(wanted.len()) / 3)
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(NEAR_NAMES_MAX).map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein distance, in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_those_that_a_slip_of_the_hand_makes() {
        let names = ["srcaddr", "dstaddr", "pkt_srcaddr", "bytes", "end", "interface_id"];
        assert_eq!(near_names("srcadr", &names), ["srcaddr"]);
        assert_eq!(near_names("interface-id", &names), ["interface_id"]);
        assert_eq!(near_names("SRCADDR", &names), ["srcaddr", "pkt_srcaddr"]);
        assert!(near_names("zzz", &names).is_empty());
    }
}
