//! The dashboard widget's fragments as a page of their own, as the console would have them.

use std::io;
use std::path::PathBuf;

/// Writes `demo/calendar.html` into the target folder; says where.
///
/// # Errors
///
/// When the folder can't be written to.
pub fn write(fragments: &[(&str, String)]) -> io::Result<PathBuf> {
    let folder = target_folder()?.join("demo");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("calendar.html");
    std::fs::write(&path, page(fragments))?;
    Ok(path)
}

/// Two folders above the binary, `target/debug/demo`.
fn target_folder() -> io::Result<PathBuf> {
    let binary = std::env::current_exe()?;
    let folder = binary.ancestors().nth(2);
    folder
        .map(Into::into)
        .ok_or_else(|| io::Error::other("the demo's binary lies in no target folder"))
}

/// A frame for each fragment, as their style sheets speak of the same classes.
fn page(fragments: &[(&str, String)]) -> String {
    let frames: String = fragments
        .iter()
        .map(|(theme, fragment)| {
            let document =
                format!("<!doctype html><meta charset=utf-8><body style=margin:0>{fragment}");
            let escaped = document.replace('&', "&amp;").replace('"', "&quot;");
            format!("<h2>{theme}</h2>\n<iframe title=\"{theme}\" srcdoc=\"{escaped}\"></iframe>\n")
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>etcd backups</title>\n\
         <style>body{{font:14px sans-serif;margin:16px;max-width:1240px}}\
         iframe{{width:100%;height:640px;border:1px solid #888}}</style>\n\
         <h1>etcd backups, as a CloudWatch dashboard shows them</h1>\n{frames}"
    )
}
