//! The web view: one `index.html` for every page, and the hashed files it loads.
//!
//! Works from files inside the binary. Without a built view every page says how to build it; the API does not care.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::card_link::CardLink;
use super::error::ApiError;
use super::negotiate::{accepts, known_tag};
use super::previews::{self, Preview};
use crate::base::clock::now_ms;
use crate::base::ids::hex;
use crate::cards::{HEIGHT, WIDTH};

const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Tephra</title>\
    <h1>Tephra is running</h1>\
    <p>This binary was built without the web view. Build it with <code>cargo xtask web</code>, then build again.</p>\
    <p>The API works: try <a href=\"/api/v1/services\">/api/v1/services</a>.</p></html>";

/// Any page of the view, with what its address says in its head.
pub async fn page(uri: Uri, headers: HeaderMap, card: CardLink) -> Response {
    index(&headers, Some(&previews::of(uri.path(), uri.query().unwrap_or_default(), now_ms())), &card)
}

/// Does somebody's browser ask, who wants something to read? Programs ask for JSON, or for anything.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.split(',').any(|kind| kind.trim().starts_with("text/html")))
}

/// What is shown for an address without a page: the view says which there are.
pub fn missing() -> Response {
    let mut answer = index(&HeaderMap::new(), None, &CardLink::default());
    if answer.status() == StatusCode::OK {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    }
    answer
}

/// What somebody sees who is not let in: why, and how to get in. It needs no script, for what scripts ask for would be refused too.
pub fn refused(title: &str, message: &str, hint: &str) -> Response {
    let index = tephra_web::file("index.html").map(|file| file.content).unwrap_or_default();
    let (title, message, hint) = (escape(title), in_words(message), in_words(hint));
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title} · Tephra</title>{styles}</head>\
         <body><header class=\"top\"><a class=\"brand\" href=\"/\"><span>Tephra</span></a></header>\
         <main id=\"main\" class=\"narrow\"><div class=\"state\" data-testid=\"refused\"><h1>{title}</h1><p>{message}</p><p>{hint}</p></div></main>\
         </body></html>",
        styles = styles(&String::from_utf8_lossy(&index)),
    );
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

/// The links to icon and style sheets in the view's own page; none without a built view.
fn styles(index: &str) -> String {
    let links = index.split("<link ").skip(1).filter_map(|rest| rest.split_once('>'));
    let wanted =
        links.filter(|(link, _)| ["rel=\"stylesheet\"", "rel=\"icon\""].iter().any(|kind| link.contains(kind)));
    wanted.map(|(link, _)| format!("<link {link}>")).collect()
}

/// A sentence with what is to be typed in backquotes, for people.
fn in_words(sentence: &str) -> String {
    let parts = sentence.split('`').enumerate();
    let shown = parts.map(|(i, part)| match (i % 2, escape(part)) {
        (0, plain) if i == 0 => capital(&plain),
        (0, plain) => plain,
        (_, code) => format!("<code>{code}</code>"),
    });
    shown.collect::<String>() + "."
}

fn capital(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The view's `index.html`, with a preview in its head where there is one, and where its picture is.
pub fn index(headers: &HeaderMap, preview: Option<&Preview>, CardLink(card): &CardLink) -> Response {
    let Some(file) = tephra_web::file("index.html") else {
        let body = preview.map_or(NOT_BUILT.to_owned(), |preview| with_preview(NOT_BUILT, preview, card.as_deref()));
        return (StatusCode::SERVICE_UNAVAILABLE, html_headers(), body).into_response();
    };
    let Some(preview) = preview else {
        return with_etag(headers, &hex(&file.sha256), html_headers(), file.content.into_owned());
    };
    let body = with_preview(&String::from_utf8_lossy(&file.content), preview, card.as_deref()).into_bytes();
    with_etag(headers, blake3::hash(&body).to_hex().as_str(), html_headers(), body)
}

/// Any other file of the view.
pub async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    file_response(&format!("assets/{path}"), &headers)
}

/// The files that browsers ask for at the root.
pub async fn favicon(headers: HeaderMap) -> Response {
    file_response("favicon.svg", &headers)
}

fn file_response(path: &str, headers: &HeaderMap) -> Response {
    let Some(plain) = tephra_web::file(path) else {
        let hint = "the view was rebuilt since this page was loaded; reload it";
        return ApiError::not_found(format!("there is no file {path:?}"), hint).into_response();
    };
    let etag = hex(&plain.sha256);
    let mut answer = HeaderMap::new();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // Vite names a file after its content, so an asset never changes under its name.
    let immutable = path.starts_with("assets/");
    let caching = if immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    let packed = accepts(headers, "br").then(|| tephra_web::file(&format!("{path}.br"))).flatten();
    let content = match packed {
        Some(packed) => {
            answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
            packed.content
        }
        None => plain.content,
    };
    with_etag(headers, &etag, answer, content.into_owned())
}

fn with_etag(asked: &HeaderMap, tag: &str, mut answer: HeaderMap, content: Vec<u8>) -> Response {
    let tag = format!("\"{}\"", tag.get(..32).unwrap_or(tag));
    if let Ok(weak) = HeaderValue::try_from(format!("W/{tag}")) {
        answer.insert(header::ETAG, weak);
    }
    if known_tag(asked, |known| known == tag).is_some() {
        answer.remove(header::CONTENT_ENCODING);
        return (StatusCode::NOT_MODIFIED, answer).into_response();
    }
    (answer, content).into_response()
}

fn html_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers
}

/// Puts title, description and the address of a picture into a document's head, escaped, in place of the title it has.
fn with_preview(html: &str, preview: &Preview, image: Option<&str>) -> String {
    let picture = image.map_or(String::new(), |image| {
        format!(
            "<meta property=\"og:image\" content=\"{}\"><meta property=\"og:image:width\" content=\"{WIDTH}\">\
             <meta property=\"og:image:height\" content=\"{HEIGHT}\"><meta name=\"twitter:card\" content=\"summary_large_image\">",
            escape(image)
        )
    });
    let (title, description) = (escape(&preview.title), escape(&preview.description));
    let head = format!(
        "<title>{title}</title><meta name=\"description\" content=\"{description}\">\
         <meta property=\"og:title\" content=\"{title}\"><meta property=\"og:description\" content=\"{description}\">\
         <meta property=\"og:site_name\" content=\"Tephra\"><meta name=\"robots\" content=\"noindex\">{picture}"
    );
    let old_title = html.find("<title>").zip(html.find("</title>").map(|end| end + "</title>".len()));
    match old_title.filter(|(start, end)| start < end) {
        Some((start, end)) => {
            let (before, after) = (html.get(..start).unwrap_or_default(), html.get(end..).unwrap_or_default());
            format!("{before}{head}{after}")
        }
        None => html.replacen("</head>", &format!("{head}</head>"), 1),
    }
}

/// Escapes text for an element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What cannot be printed could reorder or end the line around it.
            c if !tephra_proto::label::is_printable(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "webmanifest") => "application/json",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(title: &str, description: &str) -> Preview {
        Preview { title: title.to_owned(), description: description.to_owned() }
    }

    #[test]
    fn a_preview_replaces_the_title() {
        let html = "<!doctype html><html><head><meta charset=utf-8><title>Tephra</title></head><body></body></html>";
        let page = with_preview(html, &preview("checkout +32 %", "since 4f2c1"), None);
        assert!(page.contains(
            "<head><meta charset=utf-8><title>checkout +32 %</title><meta name=\"description\" content=\"since 4f2c1\">"
        ));
        assert!(page.ends_with("</head><body></body></html>"));
        assert_eq!(page.matches("<title>").count(), 1);
    }

    #[test]
    fn hostile_names_stay_text_in_the_head() {
        let hostile = [
            "</title><script>alert(1)</script>",
            "\"><img src=x onerror=alert(1)>",
            "' onload='x",
            "\u{202e}gpj",
            "\0",
        ];
        let clean = with_preview("<head><title>x</title></head>", &preview("", ""), Some(""));
        for name in hostile {
            let page = with_preview("<head><title>x</title></head>", &preview(name, name), Some(name));
            for mark in ['<', '>', '"', '\''] {
                assert_eq!(page.matches(mark).count(), clean.matches(mark).count(), "{mark} in {page}");
            }
            assert!(!page.contains('\u{202e}') && !page.contains('\0'));
        }
    }

    #[test]
    fn a_document_without_a_title_gets_one() {
        let page = with_preview("<head></head>", &preview("a", "b"), None);
        assert!(page.starts_with("<head><title>a</title>"), "{page}");
    }

    #[test]
    fn a_page_for_those_who_are_not_let_in_looks_like_the_others_and_holds_no_script() {
        let index = "<link rel=\"icon\" href=\"/favicon.svg\" /><script src=\"/x.js\"></script>\
            <link rel=\"modulepreload\" href=\"/y.js\"><link rel=\"stylesheet\" href=\"/assets/z.css\">";
        let links = "<link rel=\"icon\" href=\"/favicon.svg\" /><link rel=\"stylesheet\" href=\"/assets/z.css\">";
        assert_eq!((styles(index), styles("")), (links.to_owned(), String::new()));
        assert_eq!(in_words("send `a<b` or `c`, now"), "Send <code>a&lt;b</code> or <code>c</code>, now.");
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let mut asked = HeaderMap::new();
        let first = with_etag(&asked, "abc", HeaderMap::new(), b"x".to_vec());
        assert_eq!(first.status(), StatusCode::OK);
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(with_etag(&asked, "abc", HeaderMap::new(), b"x".to_vec()).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(with_etag(&asked, "abd", HeaderMap::new(), b"x".to_vec()).status(), StatusCode::OK);
    }
}
