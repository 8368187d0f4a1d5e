//! What the old device shows and the new one reads: `aeroedge://pair?v=1&k=SECRET`.

use data_encoding::BASE64URL_NOPAD;

use super::PairingSecret;

const SCHEME: &str = "aeroedge://pair?";
const INVITE_SCHEME: &str = "aeroedge://join?";
const LINK_MAX: usize = 4096;

/// A secret as a link, as text and in a QR code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingLink {
    /// The secret.
    pub secret: PairingSecret,
}

/// The text is not a pairing link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairingLinkError {
    /// It begins like something else.
    #[error("read the pairing code: it must begin with aeroedge://pair?")]
    NotALink,
    /// It is an invitation.
    #[error(
        "read the pairing code: this is an invitation to a group, for somebody who is not in it"
    )]
    Invite,
    /// A newer program made it.
    #[error("read a pairing code of version {0:?}: update this program")]
    Version(String),
    /// The secret is not whole.
    #[error("read the pairing code: it is damaged, copy or scan all of it again")]
    Damaged,
}

impl PairingLink {
    /// The text.
    pub fn to_text(&self) -> String {
        format!(
            "{SCHEME}v=1&k={}",
            BASE64URL_NOPAD.encode(self.secret.as_bytes())
        )
    }

    /// Reads the text. Unknown parts are passed over, so later versions can add some.
    pub fn parse(text: &str) -> Result<Self, PairingLinkError> {
        let text = text.trim();
        let begins = |scheme: &str| {
            text.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if begins(INVITE_SCHEME) {
            return Err(PairingLinkError::Invite);
        }
        if !begins(SCHEME) || text.len() > LINK_MAX {
            return Err(PairingLinkError::NotALink);
        }
        let mut key = None;
        for part in text[SCHEME.len()..].split('&') {
            match part.split_once('=') {
                Some(("v", "1" | "")) | None => {}
                Some(("v", version)) => {
                    return Err(PairingLinkError::Version(version.chars().take(8).collect()));
                }
                Some(("k", value)) if key.replace(value).is_some() => {
                    return Err(PairingLinkError::Damaged);
                }
                Some(_) => {}
            }
        }
        let secret = key
            .and_then(|value| BASE64URL_NOPAD.decode(value.as_bytes()).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(PairingLinkError::Damaged)?;
        Ok(Self {
            secret: PairingSecret::from_bytes(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_reads_back_and_each_defect_has_its_own_words() {
        let link = PairingLink {
            secret: PairingSecret::from_bytes([7; 32]),
        };
        let text = link.to_text();
        assert_eq!(PairingLink::parse(&format!(" {text}&x=y\n")), Ok(link));
        let check = |text: &str, expected: PairingLinkError| {
            assert_eq!(PairingLink::parse(text), Err(expected), "{text}");
        };
        check("", PairingLinkError::NotALink);
        check("WIFI:S:somewhere;;", PairingLinkError::NotALink);
        check("aeroedge://join?v=1&c=a", PairingLinkError::Invite);
        check("aeroedge://pair?v=1", PairingLinkError::Damaged);
        check("aeroedge://pair?v=1&k=AAAA", PairingLinkError::Damaged);
        check(
            "aeroedge://pair?v=2&k=AAAA",
            PairingLinkError::Version("2".into()),
        );
        for end in SCHEME.len()..text.len() {
            check(&text[..end], PairingLinkError::Damaged);
        }
    }
}
