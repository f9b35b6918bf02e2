//! A sign-in on another device: shows where to go and what to type there, and waits.
//!
//! Ctrl-C ends the command, as everywhere; nothing is stored then, and the code dies by itself.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use url::Url;

use super::{AuthorizeError, Terminal};
use crate::authorize::{Authorization, Granted};

/// Lets somebody sign in on another device (RFC 8628).
pub(super) async fn sign_in(
    authorization: &Authorization,
    terminal: &mut Terminal<'_>,
) -> Result<Granted, AuthorizeError> {
    let sign_in = authorization.begin_device().await?;
    let who = authorization.who();
    terminal.say(&format!(
        "Sign in as {who} on any device: open this address, and type the code below it."
    ));
    terminal.print(sign_in.url.as_str())?;
    terminal.print(&sign_in.user_code)?;
    let address = sign_in.complete_url.as_ref().unwrap_or(&sign_in.url);
    if let Some(picture) = picture(address).filter(|_| terminal.shows_pictures) {
        terminal.say(&picture);
    }
    let minutes = sign_in.life.as_secs().div_ceil(60);
    terminal.say(&format!(
        "Waiting up to {minutes} minutes for the end of the sign-in. Whoever gets this code from you could have your mail: give it to nobody."
    ));
    Ok(authorization.finish_device(sign_in).await?)
}

/// The address as a QR code. Drawn with light on dark, as terminals usually are; telephones read the reverse as well.
fn picture(address: &Url) -> Option<String> {
    let code = QrCode::new(address.as_str()).ok()?;
    let mut image = code.render::<Dense1x2>();
    image
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark);
    Some(image.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_square_with_a_margin_of_light() {
        let address = Url::parse("https://id.example/device?user_code=ABCD-EFGH").expect("a URL");
        let picture = picture(&address).expect("a picture");
        let lines: Vec<_> = picture.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].chars().all(|c| c == '█'), "{picture}");
    }
}
