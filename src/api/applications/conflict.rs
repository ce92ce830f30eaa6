//! Why an application cannot be joined with the merchant's others.

use crate::http::error::{Error, Reason};

/// Another application of the merchant has the name.
pub const NAME_TAKEN: Error = Error::Conflict {
    reason: Reason::NameTaken,
    message: "Another application has this name",
};

/// Another application of the merchant is being given the name now.
pub const NAME_PENDING: Error = Error::Conflict {
    reason: Reason::NamePending,
    message: "Another application is being given this name. Retry in a few seconds",
};

/// The merchant has the maximum number of applications.
pub const TOO_MANY_APPLICATIONS: Error = Error::Conflict {
    reason: Reason::TooManyApplications,
    message: "The merchant already has the maximum number of applications",
};
