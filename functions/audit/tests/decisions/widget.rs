//! The dashboard widget, read as a browser reads it.

use crate::world::{NOW, account, at, lose_snapshot, settings, settings_with, snapshot_of};
use audit::event::Request;
use audit::event::{Appearance, Theme};
use audit::inventory::Inventory;
use audit::widget;
use etcd_backup_core::snapshot::SnapshotState;
use scraper::{ElementRef, Html, Selector};

const CLUSTER: &str = "k8s.mycompany.tld";
/// What a dashboard can show at once without being slow.
const BYTES_MAX: usize = 256 * 1024;

fn html(inventory: &Inventory, theme: Theme) -> String {
    let appearance = Appearance {
        theme,
        width_px: Some(1180),
    };
    let request = Request::default();
    widget::answer(inventory, &settings(), &request, appearance, at(NOW))
}

fn page(inventory: &Inventory) -> Html {
    parsed(&html(inventory, Theme::Light))
}

/// Parsed as HTML, and checked for whatever a fragment inside the console may not hold.
fn parsed(fragment: &str) -> Html {
    let page = Html::parse_fragment(fragment);
    // The parser adds the html element alone; whatever it complains of is not well-formed.
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    for element in all(&page, "*") {
        let name = element.value().name();
        let known = [
            "html", "div", "style", "p", "span", "b", "br", "code", "table", "thead", "tbody",
            "tr", "th", "td", "details", "summary", "ol", "li",
        ];
        assert!(known.contains(&name), "<{name}>");
        for (attribute, value) in element.value().attrs() {
            let known = ["class", "title", "scope", "colspan"];
            assert!(
                known.contains(&attribute),
                "<{name} {attribute}=\"{value}\">"
            );
        }
    }
    let style = text(&page, "style");
    assert!(!style.contains("url(") && !style.contains("@import"));
    for rule in style.split_terminator('}') {
        let selectors = rule.split('{').next().unwrap();
        assert!(
            selectors.split(',').all(|one| one.starts_with(".etcdb")),
            "{selectors}"
        );
    }
    page
}

fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

fn words(element: ElementRef) -> String {
    let text: String = element.text().collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text(page: &Html, selector: &str) -> String {
    let texts: Vec<String> = all(page, selector).into_iter().map(words).collect();
    texts.join("\n")
}

/// The tables as they look: a line for each row.
fn table(page: &Html) -> String {
    let cells = Selector::parse("th, td").unwrap();
    let line = |row: ElementRef| {
        let texts: Vec<String> = row.select(&cells).map(words).collect();
        texts.join(" ").trim_end().to_owned()
    };
    let lines: Vec<String> = all(page, "tr").into_iter().map(line).collect();
    lines.join("\n")
}

/// One cluster with something of everything.
fn red() -> Inventory {
    let mut inventory = account(&[CLUSTER, "live-2.mycompany.tld"], 9);
    lose_snapshot(&mut inventory, "vol-0-main-b", 0);
    snapshot_of(&mut inventory, "vol-0-main-c", 0).state = SnapshotState::Pending;
    let failed = snapshot_of(&mut inventory, "vol-0-events-c", 0);
    failed.state = SnapshotState::Error;
    failed.state_message = Some("the KMS key is disabled".into());
    snapshot_of(&mut inventory, "vol-0-events-a", 3).archived = true;
    let lost = "vol-1-main-a";
    inventory
        .volumes
        .retain(|volume| volume.id.as_str() != lost);
    lose_snapshot(&mut inventory, lost, 0);
    for volume in &mut inventory.volumes {
        volume.created = at("2026-11-13T12:00:00Z");
    }
    inventory
}

#[test]
fn a_small_red_world_reads_well() {
    let page = page(&red());
    let header = text(&page, ".etcdb > p:first-of-type");
    let (legend, findings) = (text(&page, ".legend"), text(&page, "ol > li"));
    let seen = [header, table(&page), legend, findings];
    insta::assert_snapshot!(seen.join("\n\n"));
    let tooltip = |class: &str| {
        let cells = all(&page, &format!("td.{class}"));
        cells.last().unwrap().attr("title").unwrap().to_owned()
    };
    insta::assert_snapshot!(tooltip("pending"), @"run of 2026-11-22T06:00:00Z: pending, snap-0-main-c-0 started 2026-11-22T06:04:11Z");
    insta::assert_snapshot!(tooltip("missing"), @"run of 2026-11-22T06:00:00Z: missing");
}

#[test]
fn a_small_calendars_html_is_as_it_was() {
    let mut inventory = account(&[CLUSTER], 3);
    inventory
        .volumes
        .retain(|volume| volume.id.as_str().contains("main"));
    inventory
        .snapshots
        .retain(|snapshot| snapshot.volume_id.as_str().contains("main"));
    let appearance = Appearance::default();
    let settings = settings_with(&[("RETAIN_COUNT", "3")]);
    let html = widget::answer(
        &inventory,
        &settings,
        &Request::default(),
        appearance,
        at(NOW),
    );
    let (_, after_style) = html.split_once("</style>").unwrap();
    insta::assert_snapshot!(after_style.replace("><", ">\n<"));
}

#[test]
fn a_clean_world_says_so() {
    let page = page(&account(&[CLUSTER], 14));
    assert!(text(&page, ".etcdb").contains("No findings."));
    assert_eq!(all(&page, "td.completed").len(), 6 * 14);
    assert_eq!(all(&page, ".badge.critical").len(), 0);
    assert_eq!(all(&page, "details").len(), 0);
}

#[test]
fn an_empty_account_is_reported_as_such() {
    let page = page(&Inventory::default());
    let told = text(&page, ".etcdb");
    assert!(told.contains("There are no etcd volumes here."), "{told}");
    assert!(told.contains("no_etcd_volumes"), "{told}");
}

#[test]
fn both_themes_are_the_same_but_for_colours() {
    let inventory = red();
    let [light, dark] = [Theme::Light, Theme::Dark].map(|theme| html(&inventory, theme));
    assert_ne!(light, dark);
    let content = |html: &str| html.split_once("</style>").unwrap().1.to_owned();
    assert_eq!(content(&light), content(&dark));
    parsed(&dark);
}

#[test]
fn tags_are_foreign_and_shown_as_text() {
    let evil = r#"<script>alert("1")</script>"#;
    let mut inventory = account(
        &[evil, "\"'><img src=x onerror=alert(1)>", "</style><b>"],
        14,
    );
    lose_snapshot(&mut inventory, "vol-0-main-a", 0);
    let tags = &mut inventory.volumes[0].tags;
    tags.insert(
        "k8s.io/etcd/events".into(),
        "<script>/<img onload=x>".into(),
    );
    tags.insert(
        "Name".into(),
        "<svg onload=alert(1)>.etcd-javascript:x.y".into(),
    );
    let html = html(&inventory, Theme::Dark);
    let page = parsed(&html);
    assert!(!html.to_lowercase().contains("<script"));
    let clusters = text(&page, "tr.cluster th > b");
    assert!(clusters.contains(evil), "{clusters}");
    let findings = text(&page, "ol");
    assert!(findings.contains("<script>/<img onload=x>"), "{findings}");
}

#[test]
fn three_hundred_clean_members_are_small_and_folded() {
    let names: Vec<String> = (0..50)
        .map(|n| format!("k8s-{n:02}.mycompany.tld"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let html = html(&account(&names, 14), Theme::Light);
    assert!(html.len() < BYTES_MAX, "{} bytes", html.len());
    let page = parsed(&html);
    assert_eq!(all(&page, "details").len(), 1);
    assert_eq!(text(&page, "summary"), "276 more members, without findings");
    assert_eq!(all(&page, "details .note").len(), 276);
    assert_eq!(all(&page, ".note").len(), 300);
}

#[test]
fn the_worst_come_first_and_are_never_folded_before_the_clean() {
    let names: Vec<String> = (0..50)
        .map(|n| format!("k8s-{n:02}.mycompany.tld"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut inventory = account(&names, 14);
    lose_snapshot(&mut inventory, "vol-49-main-c", 0);
    let page = page(&inventory);
    let first = all(&page, "tr.cluster")
        .into_iter()
        .map(words)
        .next()
        .unwrap();
    assert!(
        first.starts_with("k8s-49.mycompany.tld critical 5 of 6"),
        "{first}"
    );
    let first = all(&page, "tbody tr:nth-child(2)")
        .into_iter()
        .map(words)
        .next()
        .unwrap();
    assert!(first.starts_with("main/c"), "{first}");
    assert!(first.ends_with("snapshot_missing"), "{first}");
}

#[test]
fn where_all_is_wrong_the_rest_is_counted_exactly() {
    let names: Vec<String> = (0..200)
        .map(|n| format!("k8s-{n:03}.mycompany.tld"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut inventory = account(&names, 14);
    // Every other run of every member, the due one included.
    inventory
        .snapshots
        .retain(|snapshot| snapshot.started.as_second() / 86_400 % 2 == 0);
    let html = html(&inventory, Theme::Light);
    assert!(html.len() < 3 * BYTES_MAX, "{} bytes", html.len());
    let page = parsed(&html);
    assert_eq!(
        text(&page, "summary"),
        "1176 more members, 1176 with findings"
    );
    assert!(text(&page, "details").contains("… and 676 more."));
}

#[test]
fn only_the_clusters_asked_for_are_shown() {
    let inventory = account(&[CLUSTER, "live-2.mycompany.tld"], 14);
    let request = Request {
        clusters: Some(vec!["live-2.mycompany.tld".into()]),
        ..Request::default()
    };
    let appearance = Appearance::default();
    let html = widget::answer(&inventory, &settings(), &request, appearance, at(NOW));
    let page = parsed(&html);
    assert_eq!(text(&page, "tr.cluster th > b"), "live-2.mycompany.tld");
    assert_eq!(all(&page, ".note").len(), 6);
}

#[test]
fn a_run_that_is_not_due_is_not_missing() {
    let inventory = account(&[CLUSTER], 14);
    let appearance = Appearance::default();
    let tomorrow = at("2026-11-23T07:29:00Z");
    let html = widget::answer(
        &inventory,
        &settings(),
        &Request::default(),
        appearance,
        tomorrow,
    );
    let page = parsed(&html);
    assert_eq!(all(&page, "td.undue").len(), 6);
    assert_eq!(all(&page, "td.missing").len(), 0);
    assert_eq!(all(&page, ".badge.ok").len(), 1);
}

#[test]
fn columns_are_capped_to_the_width_which_is_said() {
    let settings = settings_with(&[("INTERVAL_HOURS", "1"), ("RETAIN_COUNT", "1000")]);
    let columns = |width_px| {
        let appearance = Appearance {
            width_px,
            ..Appearance::default()
        };
        let inventory = account(&[CLUSTER], 14);
        let html = widget::answer(
            &inventory,
            &settings,
            &Request::default(),
            appearance,
            at(NOW),
        );
        let page = parsed(&html);
        let said = text(&page, ".legend");
        let columns = all(&page, "thead th[title]").len();
        assert!(
            said.contains(&format!("The latest {columns} of 1000 runs")),
            "{said}"
        );
        columns
    };
    assert_eq!(columns(Some(1180)), 35);
    assert_eq!(columns(Some(200)), 7);
    assert_eq!(columns(Some(9000)), 60);
    assert_eq!(columns(None), 31);
}

#[test]
fn the_documentation_names_every_sign_and_parameter() {
    let page = page(&account(&[CLUSTER], 14));
    for sign in text(&page, ".legend b").lines() {
        let row = format!("\n{sign} | ");
        assert!(widget::DOCUMENTATION.contains(&row), "{sign}");
    }
    for parameter in ["**clusters** | ", "**now** | ", "``` yaml\nclusters:"] {
        assert!(widget::DOCUMENTATION.contains(parameter), "{parameter}");
    }
}

#[test]
fn verdicts_are_marked_and_explained_where_there_are_any() {
    let mut inventory = account(&[CLUSTER], 14);
    assert!(!text(&page(&inventory), ".legend").contains("verified"));
    for (days_ago, verdict) in ["restorable", "degraded", "unsupported", "damaged"]
        .iter()
        .enumerate()
    {
        let end = format!("-{days_ago}");
        let of_day = inventory
            .snapshots
            .iter_mut()
            .filter(|of| of.id.as_str().ends_with(&end));
        of_day.for_each(|snapshot| {
            let tag = ("etcd-backup/verified".to_owned(), (*verdict).to_owned());
            snapshot.tags.extend([tag]);
        });
    }
    // A verdict on what no volume can be made from is no mark.
    let newest = inventory
        .snapshots
        .iter_mut()
        .find(|of| of.id.as_str().ends_with("main-c-0"))
        .unwrap();
    newest.state = SnapshotState::Error;
    let page = page(&inventory);
    let cells: Vec<String> = all(&page, "td.cell")
        .into_iter()
        .map(|cell| cell.text().collect())
        .collect();
    for (sign, count) in [("✓✓", 5), ("✓~", 6), ("✓?", 6), ("✓✗", 6), ("✗", 1)] {
        assert_eq!(
            cells.iter().filter(|cell| *cell == sign).count(),
            count,
            "{sign}"
        );
    }
    let legend = text(&page, ".legend");
    for verdict in ["restorable", "degraded", "unsupported", "damaged"] {
        assert!(legend.contains(&format!("verified: {verdict}")), "{legend}");
    }
    assert!(html(&inventory, Theme::Light).contains("completed, verified: damaged, snap-"));
}
