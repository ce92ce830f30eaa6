//! The index: which webhooks an application has, which applications a merchant. A set that is
//! eventually consistent and only helps to find documents; it is reconciled after each write.

mod confirm;
mod entry;
mod page;
mod repair;
mod set;

pub use self::entry::{Entry, Member};
pub use self::page::{Listed, Page, listed};
pub use self::repair::Damage;
pub use self::set::{
    Index, applications_of, unloaded_applications, unloaded_applications_under, unloaded_changed,
    unloaded_webhooks, webhooks_of,
};
