//! An address as a QR code, for a telephone.

use maud::{Markup, html};
use qrcode::{Color, QrCode};
use url::Url;

/// Modules of light around a code (ISO/IEC 18004).
const MARGIN: usize = 4;

/// The picture; nothing, if the address is too long for one.
pub fn picture(address: &Url) -> Option<Markup> {
    let code = QrCode::new(address.as_str()).ok()?;
    let width = code.width();
    let side = width + 2 * MARGIN;
    let dark = code
        .to_colors()
        .into_iter()
        .enumerate()
        .filter(|(_, color)| *color == Color::Dark);
    let path: String = dark
        .map(|(at, _)| format!("M{} {}h1v1h-1z", at % width + MARGIN, at / width + MARGIN))
        .collect();
    Some(html! {
        svg.qr viewBox=(format!("0 0 {side} {side}")) role="img" aria-label="The same address as a QR code" shape-rendering="crispEdges" {
            rect.light width=(side) height=(side) {}
            path.dark d=(path) {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_the_finders_in_their_corners() {
        let address = Url::parse("https://id.example/device?user_code=ABCD-EFGH").expect("a URL");
        let picture = picture(&address).expect("a picture").into_string();
        let code = QrCode::new(address.as_str()).expect("a code");
        let last = code.width() + MARGIN - 1;
        for corner in [(4, 4), (last, 4), (4, last)] {
            let module = format!("M{} {}h1v1h-1z", corner.0, corner.1);
            assert!(picture.contains(&module), "{corner:?}");
        }
        assert!(!picture.contains("M3 "), "the margin is light");
    }
}
