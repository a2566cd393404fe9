//! The fragment's style sheet.
//!
//! Every rule stands under the class `etcdb`, as the fragment is part of the console's own page.
//! Contrast of text is at least 4.5 to 1 in both themes.

use crate::event::Theme;

/// The rules for a theme: colours first, then the layout that both share.
pub fn sheet(theme: Theme) -> String {
    let colours = match theme {
        Theme::Light => LIGHT,
        Theme::Dark => DARK,
    };
    format!("{colours}{LAYOUT}")
}

const LIGHT: &str = "\
.etcdb{--page:#fff;--ink:#16191f;--soft:#545b64;--line:#d5dbdb;--band:#f2f3f3;\
--ok:#d4efdb;--ok-ink:#0e5a27;--pending:#d6e6fb;--pending-ink:#0a4690;\
--error:#b3261e;--error-ink:#fff;--missing:#fbdedb;--missing-ink:#a11c14;\
--unusable:#fbe8c6;--unusable-ink:#6e4600;\
--critical:#b3261e;--critical-ink:#fff;--warning:#f2c14e;--warning-ink:#2b1d00;\
--info:#d6e6fb;--info-ink:#0a4690}";

const DARK: &str = "\
.etcdb{--page:#0f141a;--ink:#e4e7ea;--soft:#a4aeb8;--line:#333d49;--band:#1a222c;\
--ok:#12401f;--ok-ink:#93e0a8;--pending:#12335c;--pending-ink:#a6cbff;\
--error:#c5332a;--error-ink:#fff;--missing:#4a1512;--missing-ink:#ffb0a8;\
--unusable:#483303;--unusable-ink:#ffd58c;\
--critical:#c5332a;--critical-ink:#fff;--warning:#e0ae3a;--warning-ink:#201500;\
--info:#12335c;--info-ink:#a6cbff}";

const LAYOUT: &str = "\
.etcdb{background:var(--page);color:var(--ink);padding:8px 10px;\
font:13px/1.45 'Amazon Ember','Helvetica Neue',Roboto,Arial,sans-serif}\
.etcdb p{margin:0 0 8px}.etcdb .soft{color:var(--soft)}\
.etcdb .badge{display:inline-block;border-radius:3px;padding:0 6px;font-size:11px;font-weight:700;\
letter-spacing:.03em;text-transform:uppercase;background:var(--ok);color:var(--ok-ink)}\
.etcdb .badge.info{background:var(--info);color:var(--info-ink)}\
.etcdb .badge.warning{background:var(--warning);color:var(--warning-ink)}\
.etcdb .badge.critical{background:var(--critical);color:var(--critical-ink)}\
.etcdb .wide{overflow-x:auto;margin:0 0 8px}\
.etcdb table{border-collapse:separate;border-spacing:2px}\
.etcdb th{font-weight:400;text-align:left;padding:0 4px;white-space:nowrap}\
.etcdb thead th{color:var(--soft);font-size:11px;text-align:center;padding:0;\
min-width:22px}\
.etcdb thead th.group{text-align:left;padding-left:2px;border-left:1px solid var(--line)}\
.etcdb tbody th{max-width:260px;overflow:hidden;text-overflow:ellipsis}\
.etcdb tr.cluster th{max-width:none;padding:5px 6px 3px;white-space:normal;overflow-wrap:anywhere;\
border-bottom:1px solid var(--line)}\
.etcdb td.cell{min-width:22px;height:20px;padding:0;text-align:center;border-radius:3px;\
font-size:12px;line-height:20px}\
.etcdb td.note{padding:0 6px;font-size:12px;white-space:nowrap}\
.etcdb .completed{background:var(--ok);color:var(--ok-ink)}\
.etcdb .pending{background:var(--pending);color:var(--pending-ink)}\
.etcdb .error{background:var(--error);color:var(--error-ink);font-weight:700}\
.etcdb .missing{background:var(--missing);color:var(--missing-ink);font-weight:700;\
box-shadow:inset 0 0 0 2px var(--missing-ink)}\
.etcdb .unusable{background:var(--unusable);color:var(--unusable-ink)}\
.etcdb .gone{background:var(--band);color:var(--ink)}\
.etcdb .unexpected,.etcdb .undue{color:var(--soft)}\
.etcdb .legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:12px;color:var(--soft)}\
.etcdb .legend b{display:inline-block;width:20px;margin-right:5px;text-align:center;\
border-radius:3px;font-weight:400}\
.etcdb details{margin:0 0 8px}.etcdb summary{cursor:pointer}\
.etcdb ol{margin:0;padding:0;list-style:none}\
.etcdb li{padding:6px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}\
.etcdb li code{font-weight:700}.etcdb code{font-family:Menlo,Consolas,monospace;font-size:12px}";
