//! The SQL functions that flowdiff adds to DataFusion's. In: columns of addresses, ports and numbers. Out: columns.
//!
//! A function is a [`Definition`]: its name and what it says of itself, the types it takes, and a kernel over whole
//! columns. NULL in gives NULL out, and a text that is no address gives NULL too: a row is never lost to an error. A
//! literal that can never be right is an error when the query is planned.

mod address;
mod column;
mod name;
mod port;

use crate::error::{Error, Result};
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Every function, in alphabetical order.
static DEFINITIONS: [&Definition; 8] = [
    &address::CIDR_CONTAINS,
    &address::CIDR_OF,
    &address::IP_FAMILY,
    &address::IS_PRIVATE,
    &port::KEPT_DSTPORT,
    &port::KEPT_SRCPORT,
    &name::PROTOCOL_NAME,
    &name::SERVICE_NAME,
];

/// The functions as DataFusion takes them.
pub(super) fn all() -> impl Iterator<Item = ScalarUDF> {
    DEFINITIONS.into_iter().map(|definition| ScalarUDF::new_from_impl(Function::new(definition)))
}

/// Names of the functions, for completion.
pub fn function_names() -> Vec<&'static str> {
    DEFINITIONS.iter().map(|definition| definition.name).collect()
}

pub use address::parse_cidr;

/// Refuses a call of one of these functions whose literals can never be right.
///
/// DataFusion asks a function about its literals only where the type of the result matters, which in a filter is when
/// the query runs; this asks while it is planned.
pub(super) fn check_literals(expr: &Expr) -> Result<()> {
    let Expr::ScalarFunction(call) = expr else { return Ok(()) };
    let Some(function) = call.func.inner().downcast_ref::<Function>() else { return Ok(()) };
    let literal = |argument: &'_ Expr| match argument {
        Expr::Literal(value, _) => Some(value.clone()),
        _ => None,
    };
    let literals: Vec<Option<ScalarValue>> = call.args.iter().map(literal).collect();
    (function.definition.check)(&literals.iter().map(Option::as_ref).collect::<Vec<_>>())
}

/// What a function is.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    /// Names and types of the arguments.
    arguments: &'static [(&'static str, Argument)],
    returns: DataType,
    /// Whether the result can be NULL.
    nullable: bool,
    description: &'static str,
    example: &'static str,
    /// Refuses literals that can never be right; `None` stands for an argument that is no literal.
    check: fn(&[Option<&ScalarValue>]) -> Result<()>,
    run: fn(&[ColumnarValue], usize) -> DfResult<ArrayRef>,
}

/// What an argument takes; everything else is refused with the form of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    /// Text of any Arrow type; the kernel sees `Utf8View`.
    Text,
    /// Any integer; the kernel sees `Int64`.
    Number,
    /// A port; the kernel sees `UInt16`.
    Port,
    /// An octet; the kernel sees `UInt8`.
    Octet,
}

impl Argument {
    fn data_type(self) -> DataType {
        match self {
            Argument::Text => DataType::Utf8View,
            Argument::Number => DataType::Int64,
            Argument::Port => DataType::UInt16,
            Argument::Octet => DataType::UInt8,
        }
    }

    fn takes(self, data_type: &DataType) -> bool {
        match data_type {
            DataType::Null => true,
            DataType::Dictionary(_, value) => self.takes(value),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => self == Argument::Text,
            other => self != Argument::Text && other.is_integer(),
        }
    }
}

/// A definition in the form that DataFusion calls.
#[derive(Debug)]
struct Function {
    definition: &'static Definition,
    signature: Signature,
    documentation: Documentation,
}

impl Function {
    fn new(definition: &'static Definition) -> Function {
        let documentation = Documentation::builder(SECTION, definition.description, definition.syntax())
            .with_sql_example(definition.example)
            .build();
        Function { definition, signature: Signature::user_defined(Volatility::Immutable), documentation }
    }
}

const SECTION: DocSection =
    DocSection { include: true, label: "Network Functions", description: Some("addresses, ports, protocols") };

impl Definition {
    fn syntax(&self) -> String {
        let arguments: Vec<&str> = self.arguments.iter().map(|(name, _)| *name).collect();
        format!("{}({})", self.name, arguments.join(", "))
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DfResult<Vec<DataType>> {
        let arguments = self.definition.arguments;
        let fits = given.len() == arguments.len()
            && arguments.iter().zip(given).all(|((_, argument), data_type)| argument.takes(data_type));
        if !fits {
            let given: Vec<String> = given.iter().map(DataType::to_string).collect();
            let error = format!("{} does not take ({})", self.definition.syntax(), given.join(", "));
            return Err(Error::invalid(error).into());
        }
        Ok(arguments.iter().map(|(_, argument)| argument.data_type()).collect())
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.definition.returns.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        (self.definition.check)(args.scalar_arguments)?;
        Ok(Arc::new(Field::new(self.definition.name, self.definition.returns.clone(), self.definition.nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let result = (self.definition.run)(&args.args, rows)?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// Accepts whatever the literals are.
fn any(_: &[Option<&ScalarValue>]) -> Result<()> {
    Ok(())
}

/// The text of argument `index` if it is a literal and not NULL.
fn literal_text<'a>(literals: &[Option<&'a ScalarValue>], index: usize) -> Option<&'a str> {
    literals.get(index).copied().flatten()?.try_as_str()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_function_is_documented_and_sorted_by_name() {
        assert!(function_names().is_sorted());
        for function in all() {
            let documentation = function.documentation().unwrap();
            assert!(documentation.syntax_example.starts_with(function.name()));
            assert!(documentation.description.len() > 20, "{}", function.name());
            assert!(documentation.sql_example.as_ref().unwrap().contains(function.name()));
            assert_eq!(function.signature().volatility, Volatility::Immutable);
        }
        assert_eq!(function_names().into_iter().collect::<BTreeSet<_>>().len(), DEFINITIONS.len());
    }
}
