//! Joining takes two things, a link and a spoken secret; together they open the package of keys in the invite.
//!
//! The link alone opens nothing, and the secret alone has nothing to be tried against. What a link or a typed secret
//! contains is input from strangers: reading it never panics and never trusts a length.

mod link;
mod package;
mod secret;

pub use link::{InviteLink, LinkError};
pub use package::{InviteSeed, PackageError, Stretch};
pub use secret::{Secret, WeakSecret};

pub(crate) use package::{Consent, PackagedKey, open_package, seal_package};
