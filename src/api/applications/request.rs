//! What requests say of an application.

use serde::Serialize;
use serde_json::Value;

use super::representation::ApplicationResponse;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::object::Object;
use crate::model::application::{Application, ApplicationName};

/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 250;

/// The body of a create.
#[derive(Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "A new application.")]
pub struct NewApplication {
    /// Its name. No two applications of a merchant have the same.
    #[schema(inline)]
    pub name: ApplicationName,
    /// What the merchant says of it.
    #[schema(max_length = 250, examples("The shop at kadosei.example.com"))]
    pub description: Option<String>,
}

impl NewApplication {
    /// Reads a body, noting what is wrong with it.
    pub fn read(body: &mut Object, details: &mut Details) -> Option<Self> {
        let name = body.required("name", details, name);
        let description = body.optional("description", details, description);
        Some(Self {
            name: name?,
            description: description.flatten(),
        })
    }
}

/// The body of a change.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(
    description = "What to change of an application; the rest stays.",
    min_properties = 1
)]
pub struct ApplicationChange {
    /// Its name. No two applications of a merchant have the same.
    #[schema(inline, nullable = false)]
    pub name: Option<ApplicationName>,
    /// What the merchant says of it; `null` takes it away.
    #[schema(value_type = Option<String>, max_length = 250, examples("The shop at kadosei.example.com"))]
    pub description: Option<Option<String>>,
    /// Whether it accepts changes and tests.
    #[schema(nullable = false, examples(false))]
    pub is_enabled: Option<bool>,
}

/// The members that a request can change.
pub const CHANGEABLE: [&str; 3] = ["name", "description", "isEnabled"];

/// The other members that responses show.
pub const READ_ONLY: [&str; 2] = ["id", "createdAt"];

impl ApplicationChange {
    /// Reads a body, noting what is wrong with it. Members that say what the `application` says are
    /// no change; without it, read-only members are not looked at.
    ///
    /// # Errors
    ///
    /// Those of [`Object::drop_unchanged`].
    pub fn read(
        mut body: Object,
        application: Option<&Application>,
        details: &mut Details,
    ) -> Result<Self, Error> {
        match application {
            None => body.ignore(&READ_ONLY),
            Some(application) => {
                body.drop_unchanged(&ApplicationResponse::from(application), &READ_ONLY)?;
            }
        }
        let change = Self {
            name: body.optional("name", details, name),
            description: body.optional("description", details, description),
            is_enabled: body.optional("isEnabled", details, |value| {
                value.as_bool().ok_or("Must be true or false")
            }),
        };
        body.finish_change(&READ_ONLY, details);
        Ok(change)
    }
}

fn name(value: Value) -> Result<ApplicationName, String> {
    let text = value.as_str().ok_or("Must be a string")?;
    ApplicationName::parse(text).map_err(|error| error.to_string())
}

/// `null` is a description too: none.
fn description(value: Value) -> Result<Option<String>, &'static str> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.chars().count() <= MAX_DESCRIPTION => Ok(Some(text)),
        Value::String(_) => Err("Must have at most 250 characters"),
        _ => Err("Must be a string"),
    }
}
