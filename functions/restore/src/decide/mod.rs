//! What is meant by an event, and what is next: pure functions of the event, the records and the
//! inventory.
//!
//! Read from the top:
//!
//! - [`intent`]: which restore an event is about, and whether anything is to be done for it; [`same_event`]:
//!   whether it is the event that began one;
//! - [`restore`]: a new restore, from [`choice`] (which snapshots, and with [`skew`] whether they are close
//!   enough together) over [`incoming`] (which volumes are made of them; [`zone`], [`tags`] and [`limits`] are
//!   its parts) and [`start_order`] to its record;
//! - [`turn`]: an undo or a redo, from a record to the same record with one turn more;
//! - [`refusal`]: what all that is refused for before anything is written;
//! - [`unfinished`]: what a refusal says about a restore that isn't over;
//! - [`plan_id`]: what a plan showed, in one short text;
//! - [`aim`]: whether a decision made again, after a wait for the lease, is still about the same turn;
//! - [`follow_up`]: what the operator does next; [`warnings`]: what they should know; [`events`]: what to
//!   send;
//! - [`stage`]: the next step of a record's turn; [`exchange`], [`masters`] and [`masters_find`] are its
//!   parts;
//! - [`mounting`]: what mounts etcd volumes on the cluster's masters;
//! - [`sightings`]: whether a volume that doesn't show is gone;
//! - [`way_out`]: whether masters may come back after a failure.

pub mod aim;
pub mod choice;
pub mod events;
pub mod exchange;
pub mod follow_up;
pub mod incoming;
pub mod intent;
pub mod limits;
pub mod list;
pub mod masters;
pub mod masters_find;
pub mod mounting;
pub mod plan_id;
pub mod refusal;
pub mod restore;
pub mod same_event;
pub mod sightings;
pub mod skew;
pub mod stage;
pub mod start_order;
pub mod tags;
pub mod turn;
pub mod unfinished;
pub mod warnings;
pub mod way_out;
pub mod zone;

use etcd_backup_core::aws_cli;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::restore_point::History;
use etcd_backup_core::restore_record::RestoreRecord;
use etcd_backup_core::settings::Settings;
use jiff::Timestamp;

use crate::collect::inventory::Inventory;
use crate::collect::records::{KnownRecord, Records};
use crate::event::Request;
use intent::Intent;

/// What every decision may know beside the event, the records and the inventory.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The Region.
    pub region: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done about an event.
#[derive(Clone, Debug)]
pub enum Decision<'a> {
    /// A new restore: its record, to be written first.
    Begin(Box<RestoreRecord>),
    /// A new turn of a restore: its record with that turn, to be written first.
    Turn(&'a KnownRecord, Box<RestoreRecord>),
    /// The turn that a restore is in goes on: its record as it is, with what the event says that it didn't
    /// know yet.
    GoOn(&'a KnownRecord, Box<RestoreRecord>),
    /// Nothing: it is done already.
    Repeat(&'a KnownRecord),
}

impl Decision<'_> {
    /// The record that it is about, as it is to be.
    pub fn record(&self) -> &RestoreRecord {
        match self {
            Self::Begin(record) | Self::Turn(_, record) | Self::GoOn(_, record) => record,
            Self::Repeat(known) => &known.record,
        }
    }
}

/// Decides what is to be done about an event that asks for a restore, an undo or a redo, or for a plan of
/// one.
///
/// # Errors
///
/// What it is refused for: nothing is to be written then.
pub fn decide<'a>(
    request: &Request,
    records: &'a Records,
    inventory: &Inventory,
    context: Context,
) -> Result<Decision<'a>, Diagnostic> {
    let mut decision = match intent::of(request, records, inventory, context.now)? {
        Intent::Begin => {
            let record = new_restore(request, records, inventory, context)?;
            Decision::Begin(Box::new(record))
        }
        Intent::Turn(known) => {
            let record = turn::begin(&known.record, request, records, inventory, context)?;
            Decision::Turn(known, Box::new(record))
        }
        Intent::GoOn(known) => {
            let mut record = known.record.clone();
            record.again |= request.again;
            let turn = record.turn_mut();
            turn.mounted_by = request.mounted_by.or(turn.mounted_by);
            Decision::GoOn(known, Box::new(record))
        }
        Intent::Repeat(known) => Decision::Repeat(known),
    };
    if let Decision::Begin(record) | Decision::Turn(_, record) | Decision::GoOn(_, record) =
        &mut decision
    {
        plan_id::agree(request, record, inventory)?;
    }
    Ok(decision)
}

fn new_restore(
    request: &Request,
    records: &Records,
    inventory: &Inventory,
    context: Context,
) -> Result<RestoreRecord, Diagnostic> {
    refuse_unknown_cluster(request, inventory, context)?;
    // Of two volumes, each generation that they are of would only confuse the choice.
    restore::refuse_duplicated(request, inventory, context.region)?;
    let history = history(records, inventory, context);
    let choice = choice::choose(request, inventory, &history, context.settings)?;
    restore::plan(request, &choice, records, inventory, context)
}

/// The history of a cluster's snapshots, given the exchanges that its records have.
pub fn history<'i>(records: &Records, inventory: &'i Inventory, context: Context) -> History<'i> {
    let exchanges = records.exchanges();
    History::new(&inventory.cluster, exchanges, &context.settings.schedule)
}

/// A cluster of which nothing is left, most often as its name has a typing error.
///
/// # Errors
///
/// `ClusterNotFound`.
pub fn refuse_unknown_cluster(
    request: &Request,
    inventory: &Inventory,
    context: Context,
) -> Result<(), Diagnostic> {
    let is_empty = inventory.cluster.members.is_empty()
        && inventory.unidentified_volumes.is_empty()
        && inventory.volumes.is_empty()
        && inventory.named_snapshots.is_empty();
    if !is_empty {
        return Ok(());
    }
    Err(Diagnostic::new(
        ErrorType::ClusterNotFound,
        format!(
            "no etcd volume and no managed snapshot of {} exists in this account and Region: check the name, \
             the account and the Region ({}); {} lists the etcd volumes that are there",
            request.cluster,
            context.region,
            aws_cli::command(
                context.region,
                "ec2 describe-volumes",
                format_args!("--filters 'Name=tag-key,Values=k8s.io/etcd/*'")
            )
        ),
    ))
}
