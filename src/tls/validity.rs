//! Until when a certificate is valid. The TLS library checks those of others and tells nothing about our own.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
/// `[0]`, the version, which a certificate of version 1 does not have.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity (RFC 5280 §4.1.2.5); `None` if it is no certificate.
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let mut certificate = Der(Der(certificate).take(SEQUENCE)?);
    let mut fields = Der(certificate.take(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.any()?;
    }
    fields.any()?; // serial number
    fields.any()?; // signature algorithm
    fields.any()?; // issuer
    let mut validity = Der(fields.take(SEQUENCE)?);
    validity.any()?; // from
    let (kind, time) = validity.any()?;
    let time = std::str::from_utf8(time).ok()?;
    match kind {
        // Years from 1950 to 2049.
        UTC_TIME => {
            let century = if time.get(..2)? < "50" { "20" } else { "19" };
            instant(&format!("{century}{time}"))
        }
        GENERALIZED_TIME => instant(time),
        _ => None,
    }
}

/// `YYYYMMDDHHMMSSZ`
fn instant(time: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%d%H%M%S", time.strip_suffix('Z')?).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?;
    Some(time.timestamp())
}

/// Takes elements off the front.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let [kind, length, rest @ ..] = self.0 else {
            return None;
        };
        let digits = match length {
            0x81..=0x84 => usize::from(length & 0x7f),
            0..=0x7f => 0,
            _ => return None,
        };
        let (long, rest) = rest.split_at_checked(digits)?;
        let length = match digits {
            0 => usize::from(*length),
            _ => long
                .iter()
                .fold(0, |number, digit| number << 8 | usize::from(*digit)),
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*kind, content))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.any()
            .filter(|(kind, _)| *kind == wanted)
            .map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 2, 3);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_a_time() {
        for year in [1999, 2031, 2049, 2050, 4096] {
            let end = not_after(&made(year)).unwrap();
            assert_eq!(end.to_string(), format!("{year}-02-03T00:00:00Z"));
        }
    }

    #[test]
    fn a_cut_certificate_has_no_end() {
        let whole = made(2031);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(at in 0..300usize, octet in any::<u8>(), octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            not_after(&octets);
            let mut bent = made(2031);
            let at = at % bent.len();
            bent[at] = octet;
            not_after(&bent);
        }
    }
}
