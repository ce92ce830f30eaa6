//! The replay of a recording.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use http_body_util::BodyExt;
use spin_sdk::http::Request;
use spin_sdk::key_value::{Error, Store};
use spin_sdk::time::sleep;
use spin_sdk::variables;
use spin_sdk::wit_bindgen::spawn;
use uuid::Uuid;

use crate::recording::{APPLICATION, NEW_ID, Operation, Recording, Step};

/// Answers one request.
pub async fn respond(request: Request) -> http::Response<String> {
    let (head, body) = request.into_parts();
    let _ = body.collect().await;
    let mut segments = head.uri.path().split('/');
    let number = segments.nth(2).and_then(|number| number.parse().ok());
    let application = segments.skip_while(|it| *it != "applications").nth(1);
    let replayed = match number {
        Some(number) => replay(number, application.unwrap_or_default()).await,
        None => Err("the path names no recording".to_owned()),
    };
    replayed.unwrap_or_else(|error| {
        let mut response = http::Response::new(error);
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        response
    })
}

async fn replay(number: usize, application: &str) -> Result<http::Response<String>, String> {
    let recording = recording(number).await?;
    let replay = Rc::new(Replay {
        application: application.to_owned(),
        new_id: Uuid::new_v4().to_string(),
        read: RefCell::default(),
    });
    let done = replay.run(&recording.steps).await;
    done.map_err(|error| error.to_string())?;
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

/// The recording of that number, read once per instance.
async fn recording(number: usize) -> Result<Arc<Recording>, String> {
    static READ: Mutex<BTreeMap<usize, Arc<Recording>>> = Mutex::new(BTreeMap::new());

    let read = || READ.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(recording) = read().get(&number) {
        return Ok(recording.clone());
    }
    let lines = variables::get("recordings").await;
    let lines = lines.map_err(|error| error.to_string())?;
    let line = lines.lines().nth(number).unwrap_or_default();
    let recording: Recording = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let recording = Arc::new(recording);
    read().insert(number, recording.clone());
    Ok(recording)
}

/// One request's replay.
struct Replay {
    application: String,
    new_id: String,
    /// How many bytes it last read or wrote, by key.
    read: RefCell<BTreeMap<String, usize>>,
}

impl Replay {
    /// Begins each step when as many have ended as in the recording.
    async fn run(&self, steps: &[Step]) -> Result<(), Error> {
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

    async fn step(&self, step: &Step) -> Result<(), Error> {
        if step.pause_ms > 0 {
            sleep(Duration::from_millis(step.pause_ms)).await;
        }
        let key = step
            .key
            .replace(APPLICATION, &self.application)
            .replace(NEW_ID, &self.new_id);
        let store = open().await?;
        match step.operation {
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
