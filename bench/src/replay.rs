//! The replay of a recording.

use std::cell::{LazyCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use application_webhooks::early_body;
use application_webhooks::model::ids::EventId;
use application_webhooks::model::time::Timestamp;
use futures::stream::{FuturesUnordered, StreamExt};
use http_body_util::{BodyExt, Full};
use spin_sdk::http::{Request, send};
use spin_sdk::key_value::{Error, Store};
use spin_sdk::time::sleep;
use spin_sdk::variables;
use spin_sdk::wasip3::http::types;
use spin_sdk::wit_bindgen::spawn;
use uuid::Uuid;

use crate::database::Database;
use crate::recording::{
    APPLICATION, EVENT, MARKER, Mode, NEW_ID, Operation, Parameter, Recording, Step, marker,
};

/// Answers one request, as the service does: head and body in one segment.
pub async fn respond(request: Request) -> Result<types::Response, types::ErrorCode> {
    let response = replayed(request).await;
    early_body::response(response.map(|body| Full::new(body.into()))).await
}

async fn replayed(request: Request) -> http::Response<String> {
    let (head, body) = request.into_parts();
    let body = body.collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let mut segments = head.uri.path().split('/');
    let mode = segments.nth(1).and_then(Mode::named);
    let number = segments.next().and_then(|number| number.parse().ok());
    let application = segments.skip_while(|it| *it != "applications").nth(1);
    let replayed = match mode.zip(number) {
        Some(recorded) => replay(recorded, application.unwrap_or_default(), &body).await,
        None => Err("the path names no recording".to_owned()),
    };
    replayed.unwrap_or_else(|error| {
        let mut response = http::Response::new(error);
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        response
    })
}

async fn replay(
    recorded: (Mode, usize),
    application: &str,
    body: &[u8],
) -> Result<http::Response<String>, String> {
    let recording = recording(recorded).await?;
    let marker = std::str::from_utf8(body).ok().and_then(marker);
    let replay = Rc::new(Replay {
        application: application.to_owned(),
        new_id: LazyCell::new(|| Uuid::new_v4().to_string()),
        event: LazyCell::new(|| EventId::generate(Timestamp::now()).to_string()),
        marker: marker.filter(|marker| *marker != MARKER).map(str::to_owned),
        read: RefCell::default(),
    });
    replay.run(&recording.steps).await?;
    if !recording.afterwards.is_empty() {
        let recording = recording.clone();
        spawn(async move {
            // As with the service, there is no client any more to answer.
            let _ = replay.run(&recording.afterwards).await;
        });
    }
    let mut response = http::Response::builder().status(recording.status);
    for (name, value) in &recording.headers {
        response = response.header(name, value);
    }
    let response = response.body(recording.body.clone());
    response.map_err(|error| error.to_string())
}

/// What is replayed of the recording of that number, read once per instance.
async fn recording((mode, number): (Mode, usize)) -> Result<Arc<Recording>, String> {
    static READ: Mutex<BTreeMap<(Mode, usize), Arc<Recording>>> = Mutex::new(BTreeMap::new());

    let read = || READ.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(recording) = read().get(&(mode, number)) {
        return Ok(recording.clone());
    }
    let lines = variables::get("recordings").await;
    let lines = lines.map_err(|error| error.to_string())?;
    let line = lines.lines().nth(number).unwrap_or_default();
    let recording: Recording = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let recording = Arc::new(recording.replayed(mode));
    read().insert((mode, number), recording.clone());
    Ok(recording)
}

/// One request's replay.
struct Replay {
    application: String,
    /// Made where a step names it, since randomness and clocks are calls of the host.
    new_id: LazyCell<String>,
    /// As the id.
    event: LazyCell<String>,
    /// What stands for [`MARKER`] in this request.
    marker: Option<String>,
    /// How many bytes it last read or wrote, by key.
    read: RefCell<BTreeMap<String, usize>>,
}

impl Replay {
    /// Begins each step when as many have ended as in the recording.
    async fn run(&self, steps: &[Step]) -> Result<(), String> {
        let mut waiting = steps.iter().peekable();
        let mut running = FuturesUnordered::new();
        let mut ended = 0;
        loop {
            while let Some(step) = waiting.next_if(|step| step.after <= ended) {
                running.push(self.step(step));
            }
            match running.next().await {
                Some(step) => step?,
                None => return Ok(()),
            }
            ended += 1;
        }
    }

    async fn step(&self, step: &Step) -> Result<(), String> {
        if step.pause_ms > 0 {
            sleep(Duration::from_millis(step.pause_ms)).await;
        }
        match &step.operation {
            Operation::Statement { sql, parameters } => {
                let parameters = parameters.iter().map(|parameter| match parameter {
                    Parameter::Text(text) => Parameter::Text(self.own(text)),
                    other => other.clone(),
                });
                let database = Database::open().await?;
                let parameters: Vec<_> = parameters.collect();
                database.run(sql, &parameters).await
            }
            Operation::Request {
                method,
                headers,
                body,
            } => {
                let url = self.own(&step.key);
                self.request(method, &url, headers, body).await
            }
            of_store => {
                let operated = self.operate(of_store, self.own(&step.key)).await;
                operated.map_err(|error| error.to_string())
            }
        }
    }

    /// The text as it is for this request.
    fn own(&self, text: &str) -> String {
        let mut text = text.replace(APPLICATION, &self.application);
        for (name, id) in [(NEW_ID, &self.new_id), (EVENT, &self.event)] {
            if text.contains(name) {
                text = text.replace(name, id);
            }
        }
        match &self.marker {
            Some(marker) => text.replace(MARKER, marker),
            None => text,
        }
    }

    /// Makes the request, and reads the response.
    async fn request(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Result<(), String> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, self.own(value));
        }
        let request = request.body(Full::new(bytes::Bytes::from(self.own(body))));
        let request = request.map_err(|error| error.to_string())?;
        let request = early_body::request(request).await;
        let request = request.map_err(|error| format!("{error:?}"))?;
        let response = send(request).await.map_err(|error| format!("{error:?}"))?;
        let body = response.into_body().collect().await;
        body.map(drop).map_err(|error| format!("{error:?}"))
    }

    async fn operate(&self, operation: &Operation, key: String) -> Result<(), Error> {
        let store = open().await?;
        match *operation {
            Operation::Get => {
                if let Some(value) = store.get(&key).await? {
                    self.read.borrow_mut().insert(key, value.len());
                }
            }
            Operation::Set { bytes, growth } => {
                let read = self.read.borrow().get(&key).copied();
                let value = vec![b'x'; Operation::size(bytes, growth, read)];
                store.set(&key, &value).await?;
                self.read.borrow_mut().insert(key, value.len());
            }
            Operation::Delete => store.delete(&key).await?,
            Operation::Exists => {
                store.exists(&key).await?;
            }
            // Not the store's.
            Operation::Statement { .. } | Operation::Request { .. } => {}
        }
        Ok(())
    }
}

/// The store, opened once per instance, as in the service.
async fn open() -> Result<Arc<Store>, Error> {
    static OPENED: Mutex<Option<Arc<Store>>> = Mutex::new(None);

    let opened = OPENED.lock().unwrap_or_else(|e| e.into_inner()).clone();
    if let Some(store) = opened {
        return Ok(store);
    }
    let store = Arc::new(Store::open_default().await?);
    *OPENED.lock().unwrap_or_else(|e| e.into_inner()) = Some(store.clone());
    Ok(store)
}
