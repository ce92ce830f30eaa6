//! Statements on a pooled connection.
//!
//! They are pipelined: one that the guest no longer waits for runs to its end, and those behind it
//! wait for it.

use std::pin::pin;

use futures_util::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;
use tokio_postgres::error::DbError as ServerError;

use super::pool::Client;
use super::values;
use crate::bindings::spin::postgres::postgres::{
    Column, DbError, DbValue, Error, ParameterValue, QueryError, RowSet,
};
use crate::sql::{Answer, ROWS_AHEAD};

/// The largest row, and the largest result of a blocking call, that Spin buffers: its
/// `MAX_HOST_BUFFERED_BYTES`.
const MAX_RESULT_BYTES: usize = 128 << 20;

/// The result of an asynchronous query.
pub type Rows = Answer<Column, Vec<DbValue>, Error>;

impl Client {
    /// Runs a statement, and returns how many rows it changed.
    ///
    /// # Errors
    ///
    /// What the server or the connection reports.
    pub async fn execute_with(
        &self,
        statement: &str,
        parameters: Vec<ParameterValue>,
    ) -> Result<u64, Error> {
        let parameters = values::parameters(parameters)
            .map_err(|error| Error::ValueConversionFailed(format!("{error:?}")))?;
        self.execute_raw(statement, parameters)
            .await
            .map_err(failed)
    }

    /// Runs a query, and returns when its first row or its end is there.
    ///
    /// # Errors
    ///
    /// A statement that cannot be prepared. What fails later is reported at the result's end.
    pub async fn query_with(
        &self,
        statement: &str,
        parameters: Vec<ParameterValue>,
    ) -> Result<Rows, Error> {
        let stream = self.stream(statement, parameters).await?;
        let (columns_known, columns) = oneshot::channel();
        let (row, rows) = mpsc::channel(ROWS_AHEAD);
        let (ended, end) = oneshot::channel();
        tokio::spawn(async move {
            let result = tokio::select! {
                biased;
                // The guest has dropped the rows.
                () = row.closed() => Ok(()),
                result = forward(stream, columns_known, &row) => result,
            };
            let _ = ended.send(result);
        });
        // Without a row there are no columns.
        let columns = columns.await.unwrap_or_default();
        Ok(Answer { columns, rows, end })
    }

    /// Runs a query to its end.
    ///
    /// # Errors
    ///
    /// What the server or the connection reports, or more than 128 MiB of rows.
    pub async fn query_blocking(
        &self,
        statement: &str,
        parameters: Vec<ParameterValue>,
    ) -> Result<RowSet, Error> {
        let mut stream = pin!(self.stream(statement, parameters).await?);
        let mut result = RowSet {
            columns: Vec::new(),
            rows: Vec::new(),
        };
        let mut bytes = 0;
        while let Some(next) = stream.next().await {
            let next = next.map_err(failed)?;
            if result.rows.is_empty() {
                result.columns = values::columns(&next);
            }
            let row = convert(&next)?;
            bytes += values::size(&row);
            if bytes > MAX_RESULT_BYTES {
                return Err(too_large());
            }
            result.rows.push(row);
        }
        Ok(result)
    }

    async fn stream(
        &self,
        statement: &str,
        parameters: Vec<ParameterValue>,
    ) -> Result<impl Stream<Item = Result<Row, tokio_postgres::Error>> + use<>, Error> {
        let parameters = values::parameters(parameters)
            .map_err(|error| Error::BadParameter(format!("{error:?}")))?;
        self.query_raw(statement, parameters).await.map_err(failed)
    }
}

async fn forward(
    stream: impl Stream<Item = Result<Row, tokio_postgres::Error>>,
    columns_known: oneshot::Sender<Vec<Column>>,
    rows: &mpsc::Sender<Vec<DbValue>>,
) -> Result<(), Error> {
    let mut stream = pin!(stream);
    let mut columns_known = Some(columns_known);
    while let Some(next) = stream.next().await {
        let next = next.map_err(failed)?;
        if let Some(columns_known) = columns_known.take() {
            let _ = columns_known.send(values::columns(&next));
        }
        let row = convert(&next)?;
        if values::size(&row) > MAX_RESULT_BYTES {
            return Err(too_large());
        }
        rows.send(row)
            .await
            .map_err(|error| text(format!("async error: {error}")))?;
    }
    Ok(())
}

fn convert(row: &Row) -> Result<Vec<DbValue>, Error> {
    values::row(row).map_err(|error| text(format!("{error:?}")))
}

fn too_large() -> Error {
    text(format!(
        "query result exceeds limit of {MAX_RESULT_BYTES} bytes"
    ))
}

/// A failure that the server did not report: the connection is gone, for one.
pub fn text(text: String) -> Error {
    Error::QueryFailed(QueryError::Text(text))
}

fn failed(error: tokio_postgres::Error) -> Error {
    let as_text = format!("{error:?}");
    let Some(server) = error.as_db_error() else {
        return text(as_text);
    };
    Error::QueryFailed(QueryError::DbError(DbError {
        as_text,
        severity: server.severity().to_owned(),
        code: server.code().code().to_owned(),
        message: server.message().to_owned(),
        detail: server.detail().map(str::to_owned),
        extras: extras(server),
    }))
}

fn extras(server: &ServerError) -> Vec<(String, String)> {
    let line = server.line().map(|line| line.to_string());
    [
        ("column", server.column()),
        ("constraint", server.constraint()),
        ("routine", server.routine()),
        ("hint", server.hint()),
        ("table", server.table()),
        ("datatype", server.datatype()),
        ("schema", server.schema()),
        ("file", server.file()),
        ("line", line.as_deref()),
        ("where_", server.where_()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
    .collect()
}
