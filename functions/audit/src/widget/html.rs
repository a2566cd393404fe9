//! The calendar and the findings as one self-contained HTML fragment: no script, no resource from
//! elsewhere.
//!
//! Names and messages hold tags, which are foreign input: maud escapes whatever is spliced in, and
//! nothing but the style sheet, a constant, goes in as it is.

use std::collections::BTreeSet;

use etcd_backup_core::verdict::Verdict;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, PreEscaped, html};

use super::calendar::{Calendar, Cell, CellState, Row, Section};
use super::{heading, style};
use crate::counted::noun;
use crate::event::Theme;
use crate::finding::Finding;
use crate::report::{ClusterReport, Report, Worst};

/// Findings shown; the others are counted.
const FINDINGS_MAX: usize = 50;
/// A message is cut after so many characters, as it may list every volume there is.
const MESSAGE_LENGTH_MAX: usize = 900;
/// A column with the space beside it.
const COLUMN_WIDTH_PX: u32 = 24;
/// What members' names, notes and margins take.
const BESIDE_COLUMNS_PX: u32 = 330;

/// How many columns a widget has room for; a month's where its width is not known.
pub fn columns_fitting(width_px: Option<u32>) -> usize {
    let Some(width_px) = width_px else {
        return 31;
    };
    let columns = width_px.saturating_sub(BESIDE_COLUMNS_PX) / COLUMN_WIDTH_PX;
    // A narrow widget still shows a week, and scrolls; the upper bound keeps the answer small on the widest
    // screen.
    columns.clamp(7, 60) as usize
}

/// The fragment.
pub fn fragment(calendar: &Calendar, report: &Report, theme: Theme) -> String {
    let markup = html! {
        // The second class keeps the console's own table styles out.
        div class="etcdb cwdb-no-default-styles" {
            style { (PreEscaped(style::sheet(theme))) }
            (header(report))
            @if calendar.open.is_empty() {
                p.soft { "There are no etcd volumes here." }
            } @else {
                (open_table(calendar))
                (folded_tables(calendar))
                (legend(calendar))
            }
            (findings(&report.findings, report.findings_left_out))
        }
    };
    markup.into_string()
}

fn header(report: &Report) -> Markup {
    let summary = &report.summary;
    html! {
        p {
            (badge(report.worst)) " "
            b { (summary.volumes_covered) " of " (summary.volumes) " etcd volumes" }
            " have their snapshot of the due run, "
            (minutes(report.due_run.at())) ". "
            span.soft { "Audited " (minutes(report.audited_at)) "." }
        }
    }
}

fn badge(worst: Worst) -> Markup {
    html! { span class={ "badge " (worst.name()) } { (worst.name()) } }
}

fn open_table(calendar: &Calendar) -> Markup {
    html! {
        div.wide {
            table {
                (columns_head(calendar))
                @for section in &calendar.open {
                    tbody {
                        (cluster_row(section, calendar.columns.len()))
                        @if section.rows.is_empty() {
                            tr { th.soft scope="row" { "no etcd volume" } }
                        }
                        @for row in &section.rows { (open_row(row)) }
                    }
                }
            }
        }
    }
}

fn columns_head(calendar: &Calendar) -> Markup {
    html! {
        thead {
            tr {
                th {}
                @for group in heading::groups(&calendar.columns, calendar.interval_hours) {
                    th.group scope="colgroup" colspan=(group.columns) { (group.label) }
                }
                th {}
            }
            tr {
                th {}
                @for run in &calendar.columns {
                    th scope="col" title={ "run of " (run) } {
                        (heading::label(*run, calendar.interval_hours))
                    }
                }
                th {}
            }
        }
    }
}

fn cluster_row(section: &Section, columns: usize) -> Markup {
    html! {
        tr.cluster {
            th scope="rowgroup" colspan=(columns + 2) {
                @match &section.cluster {
                    Some(name) => b { (name) },
                    None => b { "Volumes that don't tell their cluster" },
                }
                " " @if section.worst > Worst(None) { (badge(section.worst)) " " }
                @if let Some(report) = &section.report {
                    span.soft { (restorable(report)) }
                }
            }
        }
    }
}

fn restorable(report: &ClusterReport) -> Markup {
    html! {
        (report.volumes_covered) " of " (report.volumes) " volumes covered, "
        @match (report.restore_points, report.latest_restore_point) {
            (1, Some(latest)) => { "1 restore point, of " (minutes(latest)) },
            (count, Some(latest)) => { (count) " restore points, the latest of " (minutes(latest)) },
            (_, None) => "no restore point",
        }
    }
}

fn open_row(row: &Row) -> Markup {
    html! {
        tr {
            th scope="row" title=(row.label) { (row.label) }
            @for cell in &row.cells {
                td class={ "cell " (class(cell)) } title=(tooltip(cell)) { (sign(cell)) }
            }
            (note(row))
        }
    }
}

/// Rows as bars: equal states in a row are one cell, which keeps hundreds of members small.
fn folded_tables(calendar: &Calendar) -> Markup {
    let rows = calendar.folded.iter().map(|section| section.rows.len());
    let count = rows.sum::<usize>() + calendar.rows_left_out;
    html! {
        @if count > 0 {
            details {
                summary {
                    (count) " more " (noun(count, "member")) ", "
                    @match calendar.with_findings_folded {
                        0 => "without findings",
                        bad => { (bad) " with findings" },
                    }
                }
                div.wide {
                    table {
                        (columns_head(calendar))
                        @for section in &calendar.folded {
                            tbody {
                                (cluster_row(section, calendar.columns.len()))
                                @for row in &section.rows { (folded_row(row)) }
                            }
                        }
                    }
                }
                @if calendar.rows_left_out > 0 {
                    p.soft { "… and " (calendar.rows_left_out) " more." }
                }
            }
        }
    }
}

fn folded_row(row: &Row) -> Markup {
    html! {
        tr {
            th scope="row" { (row.label) }
            @for cells in row.cells.chunk_by(|one, next| looks(one) == looks(next)) {
                td class={ "cell " (class(&cells[0])) } colspan=(cells.len()) {
                    (sign(&cells[0])) @if cells.len() > 1 { " " (cells.len()) }
                }
            }
            (note(row))
        }
    }
}

fn legend(calendar: &Calendar) -> Markup {
    let (shown, retained) = (calendar.columns.len(), calendar.runs_retained);
    html! {
        p.legend {
            @for state in CellState::ALL {
                span { b class=(class_of(state)) { (sign_of(state)) } (state.name()) }
            }
            @for verdict in verdicts(calendar) {
                span { b class=(class_verified(verdict)) { (sign_verified(verdict)) } "verified: " (verdict.name()) }
            }
            @if shown < retained {
                span { "The latest " (shown) " of " (retained) " runs; a wider widget shows more." }
            }
        }
    }
}

fn findings(findings: &[Finding], left_out_before: usize) -> Markup {
    let shown = &findings[..findings.len().min(FINDINGS_MAX)];
    let left_out = findings.len() - shown.len() + left_out_before;
    html! {
        @if findings.is_empty() { p { "No findings." } }
        ol {
            @for finding in shown {
                li {
                    (badge(Worst(Some(finding.severity)))) " "
                    code { (finding.kind.name()) }
                    @if let Some(cluster) = &finding.subject.cluster { " " b { (cluster) } }
                    @if let Some(subject) = finding.subject.within_cluster() { " " (subject) }
                    br;
                    (cut(&finding.message))
                }
            }
            @if left_out > 0 {
                li.soft {
                    "… and " (left_out) " more " (noun(left_out, "finding"))
                    ", none graver."
                }
            }
        }
    }
}

/// The gravest kind, and how many others there are: a row has one line.
fn note(row: &Row) -> Markup {
    html! {
        @match row.kinds[..] {
            [] => td.note {},
            [only] => td.note { (only) },
            [gravest, ref others @ ..] => td.note title=(row.kinds.join(", ")) {
                (gravest) " +" (others.len())
            },
        }
    }
}

/// The verdicts that are shown.
fn verdicts(calendar: &Calendar) -> BTreeSet<Verdict> {
    let sections = calendar.open.iter().chain(&calendar.folded);
    let cells = sections.flat_map(|section| section.rows.iter().flat_map(|row| &row.cells));
    cells.filter_map(verdict).collect()
}

fn tooltip(cell: &Cell) -> String {
    let run = cell.run;
    let state = match verdict(cell) {
        Some(verdict) => format!("{}, verified: {}", cell.state.name(), verdict.name()),
        None => cell.state.name().to_owned(),
    };
    match &cell.snapshot {
        Some((id, started)) => format!("run of {run}: {state}, {id} started {started:.0}"),
        None => format!("run of {run}: {state}"),
    }
}

/// The verdict on what a volume can be made from; on what else was read by hand, it says nothing of a restore.
fn verdict(cell: &Cell) -> Option<Verdict> {
    cell.verdict.filter(|_| cell.state == CellState::Completed)
}

fn looks(cell: &Cell) -> (CellState, Option<Verdict>) {
    (cell.state, verdict(cell))
}

fn sign(cell: &Cell) -> &'static str {
    verdict(cell).map_or_else(|| sign_of(cell.state), sign_verified)
}

fn class(cell: &Cell) -> &'static str {
    verdict(cell).map_or_else(|| class_of(cell.state), class_verified)
}

fn sign_verified(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Restorable => "✓✓",
        Verdict::Degraded => "✓~",
        Verdict::Unsupported => "✓?",
        Verdict::Damaged => "✓✗",
    }
}

fn class_verified(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Restorable | Verdict::Unsupported => "completed",
        Verdict::Degraded => "unusable",
        Verdict::Damaged => "error",
    }
}

/// What tells states apart without colour.
fn sign_of(state: CellState) -> &'static str {
    match state {
        CellState::Completed => "✓",
        CellState::Pending => "…",
        CellState::Unusable => "?",
        CellState::Error => "✗",
        CellState::Missing => "!",
        CellState::NoVolume => "–",
        CellState::NotExpected => "·",
        CellState::NotDue => "○",
    }
}

fn class_of(state: CellState) -> &'static str {
    match state {
        CellState::Completed => "completed",
        CellState::Pending => "pending",
        CellState::Unusable => "unusable",
        CellState::Error => "error",
        CellState::Missing => "missing",
        CellState::NoVolume => "gone",
        CellState::NotExpected => "unexpected",
        CellState::NotDue => "undue",
    }
}

fn minutes(moment: Timestamp) -> String {
    let utc = TimeZone::UTC.to_datetime(moment);
    utc.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn cut(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
