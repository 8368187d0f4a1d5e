//! A value that many rosters share until one of them changes it: readings of neighbouring points differ in little.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Copied when it is changed while others hold it.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared<T>(Arc<T>);

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}
