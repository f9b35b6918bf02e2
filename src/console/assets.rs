//! The style and the script: a part of the program, at addresses that change with their content, so that browsers keep them.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use sha2::{Digest, Sha256};

use super::Console;

/// The style of every page.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "console",
        "css",
        "text/css",
        include_str!("assets/console.css"),
    )
});
/// What keeps a page up to date.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let script = include_str!("assets/console.js");
    Asset::new("console", "js", "text/javascript", script)
});

/// A year, which is as long as a cache takes.
const KEEP: &str = "public, max-age=31536000, immutable";

/// A file of the program.
pub struct Asset {
    name: String,
    kind: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, content: &'static str) -> Self {
        let digest = Sha256::digest(content.as_bytes());
        let digest: String = digest
            .iter()
            .take(8)
            .map(|octet| format!("{octet:02x}"))
            .collect();
        Self {
            name: format!("{stem}-{digest}.{extension}"),
            kind,
            content,
        }
    }

    /// Its address.
    pub fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// They hold nothing that is anybody's own, so nobody has to be let in.
pub fn routes() -> Router<Arc<Console>> {
    Router::new().route("/assets/{name}", get(asset))
}

async fn asset(Path(name): Path<String>) -> Response {
    match [&*STYLE, &*SCRIPT]
        .into_iter()
        .find(|asset| asset.name == name)
    {
        Some(asset) => {
            let kind = format!("{}; charset=utf-8", asset.kind);
            (
                [(CONTENT_TYPE, kind.as_str()), (CACHE_CONTROL, KEEP)],
                asset.content,
            )
                .into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
