//! The answer to a CloudWatch dashboard's custom widget: the last runs as a calendar, with what is
//! wrong below.
//!
//! Decide ([`calendar`]: what each cell says, which rows are shown and which folded) → show
//! ([`html`]). A dashboard asks every minute or so: the answer alerts nobody, writes no metrics, and
//! stays far below what Lambda may answer, whatever the account holds.
//!
//! Source: CloudWatch user guide, "Details about custom widgets in CloudWatch".

pub mod calendar;
pub mod heading;
pub mod html;
mod style;

use etcd_backup_core::settings::Settings;
use jiff::Timestamp;

use crate::checks;
use crate::event::{Appearance, Request};
use crate::inventory::Inventory;
use crate::report::{self, Report};
use calendar::Calendar;

/// The widget's documentation, which the console shows where a widget is made: Markdown.
pub const DOCUMENTATION: &str = include_str!("widget/documentation.md");

/// The HTML fragment for what an account held at `now`.
pub fn answer(
    inventory: &Inventory,
    settings: &Settings,
    request: &Request,
    appearance: Appearance,
    now: Timestamp,
) -> String {
    let fleet = report::asked_fleet(inventory, settings, request, now);
    let histories = checks::histories(&fleet, &inventory.restores, settings);
    let scope = report::scope(inventory, &fleet, &histories, settings, request, now);
    let report = Report::of(&scope);
    let columns_max = html::columns_fitting(appearance.width_px);
    let calendar = Calendar::new(&scope, &report, columns_max);
    html::fragment(&calendar, &report, appearance.theme)
}
