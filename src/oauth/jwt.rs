//! Signed assertions: a JSON Web Token (RFC 7519) in compact form (RFC 7515 §3.1).
//!
//! Knows how to sign, not what is said: claims and headers come from outside. What a token says of itself is read, but not believed: its
//! signature is for those whom it was made for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::config::SigningAlgorithm;

/// Octets of a coordinate on P-256; a signature is two of them (RFC 7518 §3.4).
const COORDINATE: usize = 32;

/// The claims of a token; `None` if it is no JWT.
pub(crate) fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

/// A token with these claims. `header` is what stands in the header besides the algorithm; `None` if the key cannot sign that way.
pub(super) fn signed(
    key: &dyn SigningKey,
    algorithm: SigningAlgorithm,
    mut header: Value,
    claims: &Value,
) -> Option<SecretString> {
    let (signer, name) = signer(key, algorithm)?;
    header["alg"] = json!(name);
    header["typ"] = json!("JWT");
    let mut token = Zeroizing::new(format!("{}.{}", part(&header), part(claims)));
    let signature = signer.sign(token.as_bytes()).ok()?;
    let signature = match name {
        "ES256" => raw(&signature)?,
        _ => signature,
    };
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Some(SecretString::from(token.as_str()))
}

/// What signs, and its name (RFC 7518 §3.1). A key on a curve has no choice.
fn signer(
    key: &dyn SigningKey,
    algorithm: SigningAlgorithm,
) -> Option<(Box<dyn rustls::sign::Signer>, &'static str)> {
    let rsa = match algorithm {
        SigningAlgorithm::Ps256 => (SignatureScheme::RSA_PSS_SHA256, "PS256"),
        SigningAlgorithm::Rs256 => (SignatureScheme::RSA_PKCS1_SHA256, "RS256"),
    };
    let curve = (SignatureScheme::ECDSA_NISTP256_SHA256, "ES256");
    [rsa, curve]
        .into_iter()
        .find_map(|(scheme, name)| Some((key.choose_scheme(&[scheme])?, name)))
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The two numbers of an ECDSA signature side by side (RFC 7518 §3.4), from TLS's form:
/// `SEQUENCE { r INTEGER, s INTEGER }` in DER, all of it shorter than 128 octets.
fn raw(der: &[u8]) -> Option<Vec<u8>> {
    let body = der.strip_prefix(&[0x30])?.split_first()?.1;
    let (r, rest) = integer(body)?;
    let (s, rest) = integer(rest)?;
    rest.is_empty().then(|| [r, s].concat())
}

/// The first INTEGER, in as many octets as a coordinate has, and what follows it.
fn integer(der: &[u8]) -> Option<([u8; COORDINATE], &[u8])> {
    let (length, rest) = der.strip_prefix(&[0x02])?.split_first()?;
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    let number = number.strip_prefix(&[0]).unwrap_or(number);
    let mut octets = [0; COORDINATE];
    let place = COORDINATE.checked_sub(number.len())?;
    octets[place..].copy_from_slice(number);
    Some((octets, rest))
}

#[cfg(test)]
pub(super) mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::signing_key;
    use crate::config::testing::made;

    /// The parts of a token: header, claims, what was signed, and the signature.
    pub(in crate::oauth) fn taken_apart(token: &str) -> (Value, Value, String, Vec<u8>) {
        let parts: Vec<_> = token.split('.').collect();
        let octets = |n: usize| URL_SAFE_NO_PAD.decode(parts[n]).expect("base64url");
        let value = |n| serde_json::from_slice(&octets(n)).expect("JSON");
        assert_eq!(parts.len(), 3);
        let signed = format!("{}.{}", parts[0], parts[1]);
        (value(0), value(1), signed, octets(2))
    }

    fn key(pem: &str) -> std::sync::Arc<dyn SigningKey> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a key");
        signing_key(key).expect("a key that signs")
    }

    #[test]
    fn the_key_decides_between_rsa_and_a_curve() {
        use SigningAlgorithm::{Ps256, Rs256};
        let (_, rsa) = made(&rcgen::PKCS_RSA_SHA256);
        let (_, curve) = made(&rcgen::PKCS_ECDSA_P256_SHA256);
        for (pem, algorithm, name, length) in [
            (&rsa, Ps256, "PS256", 256),
            (&rsa, Rs256, "RS256", 256),
            (&curve, Ps256, "ES256", 64),
        ] {
            let token = signed(&*key(pem), algorithm, json!({"kid": "k"}), &json!({"a": 1}));
            let (header, claims, _, signature) =
                taken_apart(token.expect("signed").expose_secret());
            assert_eq!(header, json!({"alg": name, "typ": "JWT", "kid": "k"}));
            assert_eq!(claims, json!({"a": 1}));
            assert_eq!(signature.len(), length, "{name}");
        }
    }

    #[test]
    fn the_numbers_of_a_signature_are_filled_up_and_bounded() {
        let der = [&[0x30, 7, 2, 1, 5, 2, 2, 0, 0x80][..]].concat();
        let raw_form = raw(&der).expect("two numbers");
        assert_eq!((raw_form[31], raw_form[63], raw_form.len()), (5, 0x80, 64));
        let long = [&[0x30, 39, 2, 34][..], &[1; 34], &[2, 1, 1]].concat();
        for bad in [&[][..], &[0x30], &[0x30, 1, 2], &[0x30, 3, 2, 9, 1], &long] {
            assert_eq!(raw(bad), None);
        }
    }
}
