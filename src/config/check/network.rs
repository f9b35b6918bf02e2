//! Networks that somebody is trusted from.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use serde_spanned::Spanned;

use super::super::problem::Problem;
use super::super::shape::{self, Field};
use super::Checker;

/// The shortest prefix of an IPv4 network that one house has to itself: 10.0.0.0/8.
const V4_WIDEST: u8 = 8;
/// The shortest prefix of an IPv6 network that a registry gives to one provider.
const V6_WIDEST: u8 = 32;

impl Checker {
    /// The networks of a key; `risk` says what comes of a network that is too wide, where that is not for the administrator to decide.
    pub(super) fn networks(
        &mut self,
        field: Field<shape::OneOrMany>,
        key: &str,
        risk: Option<&str>,
    ) -> Vec<IpNet> {
        let Some(list) = field else {
            return Vec::new();
        };
        if list.get_ref().0.is_empty() {
            self.tell(
                Problem::at(list.span(), format!("`{key}` names no address"))
                    .hint("write addresses or networks, as in [\"192.168.1.20\", \"10.1.0.0/16\"]"),
            );
        }
        let texts = list.into_inner().0;
        let each = |text: Spanned<String>| self.ok(network(&text, risk));
        texts.into_iter().filter_map(each).collect()
    }
}

fn network(text: &Spanned<String>, risk: Option<&str>) -> Result<IpNet, Problem> {
    let span = text.span();
    let parsed = parse(text.get_ref());
    let network = parsed.ok_or_else(|| {
        Problem::at(
            span.clone(),
            format!("`{}` is no address and no network", text.get_ref()),
        )
        .hint("write an IP address, or a network as in \"192.168.1.0/24\"")
    })?;
    checked(network, span, risk)
}

fn checked(network: IpNet, span: Range<usize>, risk: Option<&str>) -> Result<IpNet, Problem> {
    let widest = match network {
        IpNet::V4(_) => V4_WIDEST,
        IpNet::V6(_) => V6_WIDEST,
    };
    if let Some(risk) = risk
        && network.prefix_len() < widest
    {
        let message = format!("{network} is too wide: {risk}");
        return Err(Problem::at(span, message)
            .hint("name single addresses, or the networks that are your own"));
    }
    if network != network.trunc() {
        let message = format!("{network} has bits behind its prefix");
        return Err(Problem::at(span, message).hint(format!(
            "write {} for the network, or {} for the one address",
            network.trunc(),
            network.addr()
        )));
    }
    Ok(network)
}

/// An address is a network of its own; one that is IPv4 in IPv6's clothes is IPv4, as peers are.
fn parse(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(text: &str) -> Result<String, String> {
        let tried = network(
            &Spanned::new(0..text.len(), text.to_owned()),
            Some("anybody could"),
        );
        tried
            .map(|network| network.to_string())
            .map_err(|problem| problem.message)
    }

    #[test]
    fn addresses_and_networks_are_taken() {
        for (text, network) in [
            ("192.168.1.20", "192.168.1.20/32"),
            ("192.168.1.0/24", "192.168.1.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("fd00:1::/32", "fd00:1::/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ] {
            assert_eq!(tried(text).as_deref(), Ok(network));
        }
    }

    #[test]
    fn what_is_too_wide_or_no_network_is_refused() {
        for text in ["0.0.0.0/0", "::/0", "0.0.0.0/7", "2000::/3"] {
            assert_eq!(
                tried(text),
                Err(format!("{text} is too wide: anybody could"))
            );
        }
        for text in ["", "scanner", "192.168.1", "192.168.1.0/33", "10.0.0.1:25"] {
            let message = format!("`{text}` is no address and no network");
            assert_eq!(tried(text), Err(message));
        }
        let message = "192.168.1.20/24 has bits behind its prefix".to_owned();
        assert_eq!(tried("192.168.1.20/24"), Err(message));
    }
}
