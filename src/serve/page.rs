//! The page for people at `/`, and the description of the API at `/docs`: the files of `web/`, part of the binary. In: a
//! path. Out: a file. What they show they ask the API for, as every client does.

use super::etag::Validator;
use axum::Router;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// What the page may do: its own scripts, styles, pictures and requests, and nothing of anybody else; no script or style
/// within the markup; in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file of the page.
#[derive(Clone, Copy, Debug)]
struct Asset {
    path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

/// The asset at a path below `/`, whose file is of that name in `web/` unless another is given.
macro_rules! asset {
    ($name:literal, $media_type:ident) => {
        asset!(concat!("/web/", $name), $name, $media_type)
    };
    ($path:expr, $name:literal, $media_type:ident) => {
        Asset { path: $path, media_type: $media_type, text: include_str!(concat!("../../web/", $name)) }
    };
}

const ASSETS: [Asset; 22] = [
    asset!("/", "index.html", HTML),
    asset!("/docs", "docs.html", HTML),
    asset!("style.css", STYLE),
    asset!("icon.svg", PICTURE),
    asset!("api.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("coverage.js", SCRIPT),
    asset!("docs.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("explain.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("graph.js", SCRIPT),
    asset!("jobs.js", SCRIPT),
    asset!("network.js", SCRIPT),
    asset!("picture.js", SCRIPT),
    asset!("published.js", SCRIPT),
    asset!("rows.js", SCRIPT),
    asset!("state.js", SCRIPT),
    asset!("table.js", SCRIPT),
    asset!("timeline.js", SCRIPT),
    asset!("windows.js", SCRIPT),
    asset!("vendor/cytoscape.esm.min.mjs", SCRIPT),
];

/// The licence of what others wrote; it goes where their code goes.
const LICENCE: Asset = asset!("vendor/cytoscape.LICENSE", TEXT);

/// The routes of the page. They hold nothing that is secret: whoever may connect may read them.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.into_iter().chain([LICENCE]).fold(Router::new(), |router, asset| {
        let validator = Validator::of(asset.text.as_bytes());
        router.route(asset.path, get(move |headers: HeaderMap| async move { asset.answer(&validator, &headers) }))
    })
}

impl Asset {
    /// The file, or that the client holds it already.
    fn answer(&self, validator: &Validator, headers: &HeaderMap) -> Response {
        // Asked for again each time: files of two releases do not fit together.
        let cached = validator.headers(0);
        if validator.is_held(headers) {
            return (StatusCode::NOT_MODIFIED, cached).into_response();
        }
        let own: [(HeaderName, &str); 4] = [
            (header::CONTENT_TYPE, self.media_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        (own, cached, self.text).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::{HeaderValue, Request};
    use std::collections::BTreeSet;
    use std::path::Path;
    use tower::ServiceExt;

    async fn get(path: &str, tag: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        routes::<()>().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// Names of the files below a folder of `web/`.
    fn files(folder: &str) -> BTreeSet<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("web").join(folder);
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        entries
            .flat_map(|entry| {
                let name = format!("{folder}{}", entry.file_name().to_str().unwrap());
                if entry.path().is_dir() { files(&format!("{name}/")) } else { [name].into() }
            })
            .collect()
    }

    #[tokio::test]
    async fn every_file_of_the_page_is_served_and_nothing_else() {
        for name in files("") {
            let path = match name.as_str() {
                "index.html" => "/".to_owned(),
                "docs.html" => "/docs".to_owned(),
                name => format!("/web/{name}"),
            };
            let response = get(&path, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{path} is not among the assets");
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body, std::fs::read(format!("{}/web/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap());
        }
        for path in ["/web/", "/web/none.js", "/web/../Cargo.toml", "/web/%2e%2e/Cargo.toml"] {
            assert_eq!(get(path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn a_client_that_holds_a_file_is_told_so_and_another_release_has_another_tag() {
        let first = get("/web/app.js", None).await;
        assert_eq!(first.headers()[header::CACHE_CONTROL], "private, no-cache");
        let tag = &first.headers()[header::ETAG];
        let again = get("/web/app.js", Some(tag)).await;
        assert_eq!((again.status(), &again.headers()[header::ETAG]), (StatusCode::NOT_MODIFIED, tag));
        assert!(to_bytes(again.into_body(), 1).await.unwrap().is_empty());
        assert_eq!(get("/web/style.css", Some(tag)).await.status(), StatusCode::OK);
    }

    /// Imports, links and scripts are relative, so that the page works below any path of a proxy.
    #[test]
    fn what_the_files_refer_to_is_there() {
        let known = files("");
        for asset in ASSETS.iter().filter(|asset| !asset.path.contains("vendor")) {
            let quoted = asset.text.split(['"', '\'']).skip(1).step_by(2);
            for name in quoted.filter_map(|text| text.strip_prefix("./").or(text.strip_prefix("web/"))) {
                assert!(name.is_empty() || known.contains(name), "{}: {name} is not in web/", asset.path);
            }
        }
    }

    /// Text of flow logs is hostile: it must never be read as markup, and the policy must not need exceptions.
    #[test]
    fn nothing_makes_markup_of_text_and_no_script_or_style_is_within_the_markup() {
        for asset in ASSETS.iter().filter(|asset| !asset.path.contains("vendor")) {
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "://"] {
                let is_name_of_a_standard = forbidden == "://" && asset.media_type == PICTURE;
                assert!(is_name_of_a_standard || !asset.text.contains(forbidden), "{}: {forbidden}", asset.path);
            }
            if asset.media_type == HTML {
                for forbidden in ["<style", " style=", " onclick=", "<script>", "javascript:"] {
                    assert!(!asset.text.contains(forbidden), "{}: {forbidden}", asset.path);
                }
            }
        }
    }
}
