//! The operations of [`PortalCodes`], as statements.

use super::super::claim::ClaimToken;
use super::super::database::{NewCode, Operation, PortalCodes, WaitingSession};
use super::super::statements::portal::PortalStatements;
use super::SqlDatabase;
use crate::model::portal::{Capabilities, Generation, SessionId};
use crate::model::time::Timestamp;

impl SqlDatabase {
    fn portal(&self) -> &'static PortalStatements {
        self.connections.dialect().portal()
    }
}

impl PortalCodes for SqlDatabase {
    fn keep_code<'a>(&'a self, code: &'a NewCode) -> Operation<'a, bool> {
        Box::pin(async move {
            let session = &code.session;
            let parameters = [
                code.hash.as_str().into(),
                (&session.application_id).into(),
                session.session_id.as_str().into(),
                session.capabilities.to_string().into(),
                session.generation.as_ref().map(Generation::as_str).into(),
                session.expires_at.into(),
                code.created_at.into(),
                code.expires_at.into(),
                code.counted_since.into(),
                code.limit.into(),
            ];
            Ok(self.changed(&self.portal().keep, &parameters).await? > 0)
        })
    }

    fn find_code<'a>(
        &'a self,
        hash: &'a str,
        now: Timestamp,
    ) -> Operation<'a, Option<WaitingSession>> {
        Box::pin(async move {
            let parameters = [hash.into(), now.into()];
            let rows = self.query(&self.portal().find, &parameters).await?;
            let Some(mut row) = rows.into_iter().next() else {
                return Ok(None);
            };
            Ok(Some(WaitingSession {
                application_id: row.application_id()?,
                session_id: SessionId::from_text(row.text()?),
                capabilities: Capabilities::parse(&row.text()?),
                generation: row.optional_text()?.map(Generation::from_text),
                expires_at: row.moment()?,
            }))
        })
    }

    fn take_code<'a>(
        &'a self,
        hash: &'a str,
        claim: ClaimToken,
        now: Timestamp,
    ) -> Operation<'a, bool> {
        Box::pin(async move {
            let parameters = [hash.into(), claim.as_str().into(), now.into()];
            Ok(self.changed(&self.portal().take, &parameters).await? > 0)
        })
    }

    fn forget_codes(&self, before: Timestamp, limit: u32) -> Operation<'_, u32> {
        Box::pin(async move {
            let parameters = [before.into(), limit.into()];
            self.changed(&self.portal().forget, &parameters).await
        })
    }
}
