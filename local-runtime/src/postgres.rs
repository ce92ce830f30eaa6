//! `spin:postgres@4.2.0`: which servers a component may connect to, and how its calls reach them.

pub mod client;
pub mod pool;
pub mod tls;
#[cfg(test)]
mod traps;
mod values;

use std::sync::Arc;

use serde_json::json;
use tokio_postgres::config::Host as ServerHost;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use self::pool::{Client, Limit, Pools};
use self::tls::CaRoot;
use crate::allowed_hosts::AllowedHosts;
use crate::bindings::spin::postgres::postgres::{
    Column, DbValue, Error, Host, HostConnection, HostConnectionBuilder,
    HostConnectionBuilderWithStore, HostConnectionWithStore, ParameterValue, RowSet,
};
use crate::instruments::Instruments;
use crate::sql;
use crate::stats::Caller;
use crate::view::{Has, View, request};

/// What one instance has of the PostgreSQL interface.
#[derive(Clone)]
pub struct Postgres {
    allowed: Arc<AllowedHosts>,
    /// The component's, not the instance's.
    pools: Arc<Pools>,
    instruments: Instruments,
}

impl Postgres {
    /// What each instance of a component starts with.
    pub fn new(allowed: Arc<AllowedHosts>, limit: Limit, instruments: Instruments) -> Self {
        Self {
            allowed,
            pools: Arc::new(Pools::new(limit)),
            instruments,
        }
    }

    async fn connect(&self, builder: Builder) -> wasmtime::Result<Result<Client, Error>> {
        // The key of the operation has no password in it.
        let hosts = match servers(&builder.address) {
            Ok(hosts) => hosts,
            Err(error) => return Ok(Err(error)),
        };
        let key = hosts.join(",");
        let (allowed, pools) = (self.allowed.clone(), self.pools.clone());
        let connect = async move {
            if let Some(refused) = hosts.iter().find(|host| !allowed.allows_postgres(host)) {
                return Err(Error::ConnectionFailed(format!(
                    "address postgres://{refused} is not permitted"
                )));
            }
            pools
                .get(&builder.address, builder.ca_root)
                .await
                .map_err(|error| Error::ConnectionFailed(format!("{error:?}")))
        };
        let injected = Error::ConnectionFailed("injected fault".to_owned());
        self.instruments
            // The instance's, not the request's that happens to need it first.
            .run(sql::OPEN, &key, Caller(None), injected, |_| None, connect)
            .await
    }
}

/// The `host:port` of each server of an address, or `host` where no port is given.
fn servers(address: &str) -> Result<Vec<String>, Error> {
    let config: tokio_postgres::Config = address
        .parse()
        .map_err(|error: tokio_postgres::Error| Error::ConnectionFailed(error.to_string()))?;
    let ports = config.get_ports();
    let server = |(number, host): (usize, &ServerHost)| match host {
        ServerHost::Tcp(host) => {
            let only = (ports.len() == 1).then(|| ports.first()).flatten();
            Ok(match ports.get(number).or(only) {
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            })
        }
        ServerHost::Unix(_) => Err(Error::ConnectionFailed(
            "Unix sockets are not supported on WebAssembly".to_owned(),
        )),
    };
    config.get_hosts().iter().enumerate().map(server).collect()
}

/// The error of an injected fault: like a lost connection, the server did not report it.
fn injected() -> Error {
    client::text("injected fault".to_owned())
}

/// A parameter as a trace has it; what the benchmark cannot replay says so.
fn shown(parameter: &ParameterValue) -> serde_json::Value {
    match parameter {
        ParameterValue::DbNull => serde_json::Value::Null,
        ParameterValue::Int64(number) => json!(number),
        ParameterValue::Str(text) => json!(text),
        _ => json!({"notShown": true}),
    }
}

/// The guest's handle of what a connection will be made with.
#[derive(Clone)]
pub struct Builder {
    address: String,
    ca_root: Option<CaRoot>,
}

impl Builder {
    fn new(address: String) -> Self {
        Self {
            address,
            ca_root: None,
        }
    }
}

impl View<'_, Postgres> {
    async fn connect(
        &mut self,
        builder: Builder,
    ) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        Ok(match self.context.connect(builder).await? {
            Ok(client) => Ok(self.table.push(client)?),
            Err(error) => Err(error),
        })
    }
}

impl Host for View<'_, Postgres> {}

/// `build` stops the whole instance while it runs. Our components do not import it.
impl HostConnectionBuilder for View<'_, Postgres> {
    async fn new(&mut self, address: String) -> wasmtime::Result<Resource<Builder>> {
        Ok(self.table.push(Builder::new(address))?)
    }

    async fn set_ca_root(
        &mut self,
        builder: Resource<Builder>,
        certificate: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(match CaRoot::from_pem(&certificate) {
            Ok(ca_root) => {
                self.table.get_mut(&builder)?.ca_root = Some(ca_root);
                Ok(())
            }
            Err(error) => Err(Error::Other(format!("invalid root certificate: {error}"))),
        })
    }

    async fn build(
        &mut self,
        builder: Resource<Builder>,
    ) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        let builder = self.table.get(&builder)?.clone();
        self.connect(builder).await
    }

    async fn drop(&mut self, builder: Resource<Builder>) -> wasmtime::Result<()> {
        self.table.delete(builder)?;
        Ok(())
    }
}

/// The calls that stop the whole instance while they run. Our components import none of them.
impl HostConnection for View<'_, Postgres> {
    async fn open(&mut self, address: String) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        self.connect(Builder::new(address)).await
    }

    async fn query(
        &mut self,
        connection: Resource<Client>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<RowSet, Error>> {
        let client = self.table.get(&connection)?.clone();
        let name = sql::name(&statement);
        let query = async move { client.query_blocking(&statement, parameters).await };
        let instruments = &self.context.instruments;
        instruments
            .run(
                sql::STATEMENT,
                &name,
                Caller(None),
                injected(),
                |_| None,
                query,
            )
            .await
    }

    async fn execute(
        &mut self,
        connection: Resource<Client>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let client = self.table.get(&connection)?.clone();
        let instruments = self.context.instruments.clone();
        execute(&instruments, client, statement, parameters, Caller(None)).await
    }

    async fn drop(&mut self, connection: Resource<Client>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

async fn execute(
    instruments: &Instruments,
    client: Client,
    statement: String,
    parameters: Vec<ParameterValue>,
    caller: Caller<'_>,
) -> wasmtime::Result<Result<u64, Error>> {
    let name = sql::name(&statement);
    let execute = async move { client.execute_with(&statement, parameters).await };
    instruments
        .run(sql::STATEMENT, &name, caller, injected(), |_| None, execute)
        .await
}

type Queried = (
    Vec<Column>,
    StreamReader<Vec<DbValue>>,
    FutureReader<Result<(), Error>>,
);

impl<T: Send> HostConnectionWithStore<T> for Has<Postgres> {
    async fn open_async(
        accessor: &Accessor<T, Self>,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        connect(accessor, Builder::new(address)).await
    }

    async fn query_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Client>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<Queried, Error>> {
        let caller = request(accessor)?;
        let (instruments, client) = opened(accessor, &connection)?;
        let caller = Caller(caller.as_deref());
        let is_followed = instruments.stats.is_followed(caller);
        let shown = is_followed.then(|| parameters.iter().map(shown).collect());
        let text = statement.clone();
        let query = async move { client.query_with(&text, parameters).await };
        let answer = sql::query(&instruments, &statement, shown, caller, injected(), query).await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let rows = StreamReader::new(&mut access, sql::Rows(answer.rows))?;
            let end = FutureReader::new(&mut access, answer.end)?;
            Ok(Ok((answer.columns, rows, end)))
        })
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Client>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let caller = request(accessor)?;
        let (instruments, client) = opened(accessor, &connection)?;
        let caller = Caller(caller.as_deref());
        execute(&instruments, client, statement, parameters, caller).await
    }
}

impl<T: Send> HostConnectionBuilderWithStore<T> for Has<Postgres> {
    async fn build_async(
        accessor: &Accessor<T, Self>,
        builder: Resource<Builder>,
    ) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        let builder = accessor
            .with(|mut access| wasmtime::error::Ok(access.get().table.get(&builder)?.clone()))?;
        connect(accessor, builder).await
    }
}

async fn connect<T>(
    accessor: &Accessor<T, Has<Postgres>>,
    builder: Builder,
) -> wasmtime::Result<Result<Resource<Client>, Error>> {
    let context = accessor.with(|mut access| access.get().context.clone());
    Ok(match context.connect(builder).await? {
        Ok(client) => Ok(accessor.with(|mut access| access.get().table.push(client))?),
        Err(error) => Err(error),
    })
}

fn opened<T>(
    accessor: &Accessor<T, Has<Postgres>>,
    connection: &Resource<Client>,
) -> wasmtime::Result<(Instruments, Client)> {
    accessor.with(|mut access| {
        let view = access.get();
        let client = view.table.get(connection)?.clone();
        Ok((view.context.instruments.clone(), client))
    })
}
