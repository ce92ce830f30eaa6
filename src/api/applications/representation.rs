//! An application as responses show it.

use serde::Serialize;

use crate::model::application::{Application, ApplicationName};
use crate::model::ids::ApplicationId;
use crate::model::time::Timestamp;

/// An application as responses show it. One that was written into the store by hand may lack a
/// name and the time of its creation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(
    as = Application, description = "An application of a merchant."
)]
pub struct ApplicationResponse {
    /// ID of the application.
    #[schema(inline)]
    id: ApplicationId,
    /// Its name. No two applications of a merchant have the same. `null` only where the platform
    /// made the application without one.
    #[schema(inline, required)]
    name: Option<ApplicationName>,
    /// What the merchant says of it.
    #[schema(
        required,
        max_length = 250,
        examples("The shop at kadosei.example.com")
    )]
    description: Option<String>,
    /// Whether it accepts changes and tests. A disabled application keeps its webhooks and accepts
    /// reads.
    #[schema(examples(true))]
    is_enabled: bool,
    /// When it was created. `null` only where the platform made the application without it.
    #[schema(inline, required)]
    created_at: Option<Timestamp>,
}

impl From<&Application> for ApplicationResponse {
    fn from(application: &Application) -> Self {
        let settings = application.settings();
        Self {
            id: application.id.clone(),
            name: settings.name,
            description: settings.description,
            is_enabled: settings.is_enabled,
            created_at: application.created.created_at,
        }
    }
}
