//! The demo's page, carried in the binary.

const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("../../assets/page/index.html")),
    ("/page/index.html", "text/html; charset=utf-8", include_str!("../../assets/page/index.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("../../assets/page/style.css")),
    ("/page/page.js", "text/javascript; charset=utf-8", include_str!("../../assets/page/page.js")),
    ("/page/panel.js", "text/javascript; charset=utf-8", include_str!("../../assets/page/panel.js")),
    ("/page/company.js", "text/javascript; charset=utf-8", include_str!("../../assets/page/company.js")),
    ("/page/filters.js", "text/javascript; charset=utf-8", include_str!("../../assets/page/filters.js")),
    ("/page/stream-client.js", "text/javascript; charset=utf-8", include_str!("../../assets/page/stream-client.js")),
];

/// A file of the page: its type and text.
#[must_use]
pub(super) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    FILES.iter().find(|(name, _, _)| *name == path).map(|(_, kind, text)| (*kind, *text))
}
