//! The values of PostgreSQL's types that a component may use here.
//!
//! Spin has more: dates and times, UUIDs, decimals, ranges and intervals. The schema of events has
//! none of them, and they would bring three more dependencies.

use anyhow::{Context, bail};
use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::bindings::spin::postgres::postgres::{Column, DbDataType, DbValue, ParameterValue};

type Failure = Box<dyn std::error::Error + Sync + Send>;

/// A parameter for a statement.
pub type Parameter = Box<dyn ToSql + Send + Sync>;

/// The columns of a result, from its first row.
pub fn columns(row: &Row) -> Vec<Column> {
    let column = |column: &tokio_postgres::Column| Column {
        name: column.name().to_owned(),
        data_type: data_type(column.type_()),
    };
    row.columns().iter().map(column).collect()
}

fn data_type(r#type: &Type) -> DbDataType {
    match *r#type {
        Type::BOOL => DbDataType::Boolean,
        Type::BYTEA => DbDataType::Binary,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbDataType::Str,
        Type::JSONB => DbDataType::Jsonb,
        Type::INT4_ARRAY => DbDataType::ArrayInt32,
        Type::INT8_ARRAY => DbDataType::ArrayInt64,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => DbDataType::ArrayStr,
        _ => DbDataType::Other(r#type.name().to_owned()),
    }
}

/// The values of a row.
///
/// # Errors
///
/// A value of a type that Spin converts and the local runtime does not.
pub fn row(row: &Row) -> anyhow::Result<Vec<DbValue>> {
    (0..row.len()).map(|index| value(row, index)).collect()
}

fn value(row: &Row, index: usize) -> anyhow::Result<DbValue> {
    let kind = row.columns()[index].type_();
    match *kind {
        Type::BOOL => read(row, index, DbValue::Boolean),
        Type::BYTEA => read(row, index, DbValue::Binary),
        Type::FLOAT4 => read(row, index, DbValue::Floating32),
        Type::FLOAT8 => read(row, index, DbValue::Floating64),
        Type::INT2 => read(row, index, DbValue::Int16),
        Type::INT4 => read(row, index, DbValue::Int32),
        Type::INT8 => read(row, index, DbValue::Int64),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => read(row, index, DbValue::Str),
        Type::JSONB => {
            let json: Option<serde_json::Value> = row.try_get(index)?;
            let bytes = json.map(|json| serde_json::to_vec(&json)).transpose()?;
            Ok(bytes.map_or(DbValue::DbNull, DbValue::Jsonb))
        }
        Type::INT4_ARRAY => read(row, index, DbValue::ArrayInt32),
        Type::INT8_ARRAY => read(row, index, DbValue::ArrayInt64),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => {
            read(row, index, DbValue::ArrayStr)
        }
        // A trap of Spin: it reads this type as one without a time zone, and fails.
        Type::TIMESTAMPTZ => bail!("error deserializing column {index}"),
        Type::TIMESTAMP
        | Type::DATE
        | Type::TIME
        | Type::UUID
        | Type::NUMERIC
        | Type::NUMERIC_ARRAY
        | Type::INT4_RANGE
        | Type::INT8_RANGE
        | Type::NUM_RANGE
        | Type::INTERVAL => {
            bail!("the local runtime reads no {kind}: use Spin for it, or another type")
        }
        _ => read(row, index, |Raw(bytes)| DbValue::Unsupported(bytes)),
    }
}

fn read<T>(row: &Row, index: usize, wrap: impl FnOnce(T) -> DbValue) -> anyhow::Result<DbValue>
where
    T: for<'a> FromSql<'a>,
{
    let value: Option<T> = row.try_get(index)?;
    Ok(value.map_or(DbValue::DbNull, wrap))
}

/// The bytes of a value whose type Spin does not know either.
struct Raw(Vec<u8>);

impl FromSql<'_> for Raw {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Failure> {
        Ok(Self(raw.to_owned()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The parameters of a statement.
///
/// # Errors
///
/// JSON that is malformed, or a type that the local runtime does not convert.
pub fn parameters(values: Vec<ParameterValue>) -> anyhow::Result<Vec<Parameter>> {
    values.into_iter().map(parameter).collect()
}

fn parameter(value: ParameterValue) -> anyhow::Result<Parameter> {
    Ok(match value {
        ParameterValue::Boolean(value) => Box::new(value),
        ParameterValue::Int8(value) => Box::new(value),
        ParameterValue::Int16(value) => Box::new(value),
        ParameterValue::Int32(value) => Box::new(value),
        ParameterValue::Int64(value) => Box::new(value),
        ParameterValue::Floating32(value) => Box::new(value),
        ParameterValue::Floating64(value) => Box::new(value),
        ParameterValue::Str(value) => Box::new(value),
        ParameterValue::Binary(value) => Box::new(value),
        ParameterValue::Jsonb(value) => {
            let json: serde_json::Value = serde_json::from_slice(&value).context("invalid JSON")?;
            Box::new(json)
        }
        ParameterValue::ArrayInt32(values) => Box::new(values),
        ParameterValue::ArrayInt64(values) => Box::new(values),
        ParameterValue::ArrayStr(values) => Box::new(values),
        ParameterValue::DbNull => Box::new(Null),
        ParameterValue::Date(_)
        | ParameterValue::Time(_)
        | ParameterValue::Datetime(_)
        | ParameterValue::Timestamp(_)
        | ParameterValue::Uuid(_)
        | ParameterValue::Decimal(_)
        | ParameterValue::RangeInt32(_)
        | ParameterValue::RangeInt64(_)
        | ParameterValue::RangeDecimal(_)
        | ParameterValue::ArrayDecimal(_)
        | ParameterValue::Interval(_) => {
            bail!("the local runtime takes no such parameter: use Spin for it, or another type")
        }
    })
}

/// NULL for a parameter of any type; an `Option` would have one type.
#[derive(Debug)]
struct Null;

impl ToSql for Null {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Failure> {
        Ok(IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The size of a row's variable parts and of what holds them, in bytes.
pub fn size(row: &[DbValue]) -> usize {
    let variable = |value: &DbValue| match value {
        DbValue::Str(text) | DbValue::Uuid(text) | DbValue::Decimal(text) => text.len(),
        DbValue::Jsonb(bytes) | DbValue::Binary(bytes) | DbValue::Unsupported(bytes) => bytes.len(),
        DbValue::ArrayInt32(values) => size_of_val(values.as_slice()),
        DbValue::ArrayInt64(values) => size_of_val(values.as_slice()),
        DbValue::ArrayStr(values) | DbValue::ArrayDecimal(values) => {
            let texts = values.iter().flatten().map(String::len).sum::<usize>();
            size_of_val(values.as_slice()) + texts
        }
        _ => 0,
    };
    row.iter()
        .map(|value| size_of::<DbValue>() + variable(value))
        .sum()
}
