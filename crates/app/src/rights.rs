//! Who may write what, as the platform asks it.

use aeroedge_device::TableRights;
use aeroedge_ids::UserId;
use aeroedge_log::compartment::Audience;
use aeroedge_log::control::Rights;

/// The product's table of rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AviationRights;

impl TableRights for AviationRights {
    fn may_write(&self, _: &str, _: Audience, _: UserId, _: &Rights) -> bool {
        true
    }
}
