//! The way out of a failure: which of the groups whose launches are suspended may be resumed, so that masters
//! come back where that is safe. The others stay suspended, and the error says why.

use etcd_backup_core::ids::GroupName;
use etcd_backup_core::restore_record::{Direction, RestoreRecord};

use super::exchange::{Exchange, Side, Volumes, side_found};
use super::list::list;
use super::masters;
use super::masters_find::MastersFind;
use crate::collect::inventory::Inventory;

/// How many looks in a row must show the same side once tags may have been written: reads lag writes in EC2,
/// so that one look in the middle of an exchange may show what was there before it.
const LOOKS_ALIKE: u32 = 2;

/// Which groups are resumed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WayOut {
    /// Their launches are resumed.
    pub resumed: Vec<GroupName>,
    /// Theirs stay suspended.
    pub kept: Vec<GroupName>,
    /// Why they do; empty where none does.
    pub why: String,
}

/// How many looks in a row must show the same side before masters may come back on it.
pub fn looks_needed(record: &RestoreRecord) -> u32 {
    if record.turn().exchanged_at().is_some() {
        LOOKS_ALIKE
    } else {
        1
    }
}

/// The side that one look shows of all members alike, as far as it can be believed. Masters' filters may
/// still show the one that was there before the turn when the volumes themselves tell that its exchange has
/// begun.
pub fn side_shown(record: &RestoreRecord, found: &MastersFind, volumes: &Volumes) -> Option<Side> {
    let side = side_found(record, found)?;
    let is_left = side == Side::left_by(record.turn().direction);
    let is_believed = is_left || !Exchange::of(record).has_begun(volumes);
    is_believed.then_some(side)
}

/// Decides it, given the side that masters which start now would find.
pub fn decide(record: &RestoreRecord, side: Option<Side>, inventory: &Inventory) -> WayOut {
    let left = masters::to_resume(record, &inventory.control_plane);
    let kept = |why: String| WayOut {
        resumed: Vec::new(),
        kept: left.clone(),
        why,
    };
    let Some(side) = side else {
        let why = "as masters would not find the right volume, and it alone, for every member";
        return kept(why.to_owned());
    };
    let met = masters::met_by_launches(record, side, &left, inventory);
    if !met.is_empty() {
        return kept(format!(
            "as their masters would start beside {}, which run on other volumes",
            list(met)
        ));
    }
    // Masters on restored volumes start in their order also here, unless the restore had ended before its
    // undo: then they have started already.
    let turn = record.turn();
    let has_order_behind = turn.direction == Direction::Undo && !turn.gives_up;
    let is_ordered = side == Side::Incoming && !has_order_behind;
    let second = &record.start_order.second_groups;
    let is_second = |group: &GroupName| is_ordered && second.contains(group);
    let (kept, resumed): (Vec<_>, Vec<_>) = left.into_iter().partition(is_second);
    let why = if kept.is_empty() {
        ""
    } else {
        "as their masters start after the first ones"
    };
    WayOut {
        resumed,
        kept,
        why: why.to_owned(),
    }
}
