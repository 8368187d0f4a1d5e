//! The invite link in its two forms, `aeroedge://join?...` and `https://.../join#...`, written and read.
//!
//! In the https form everything stands behind `#`, which browsers do not send: no server sees the invite.

use aeroedge_ids::ContextId;
use data_encoding::BASE64URL_NOPAD;

use super::InviteSeed;

const SCHEME: &str = "aeroedge://join?";
const LINK_MAX: usize = 4096;
const NAME_MAX: usize = 100;
const HINTS_MAX: usize = 8;
const HINT_MAX: usize = 200;

/// What an invite link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteLink {
    /// The context to join.
    pub context: ContextId,
    /// What to call it until its own records have arrived, at most 100 characters. A claim of whoever made the link.
    pub name: String,
    /// The secret half of the invite.
    pub seed: InviteSeed,
    /// Where to connect, at most 8, each at most 200 bytes, in words that transports understand.
    pub hints: Vec<String>,
}

/// The text is not an invite link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It begins like something else.
    #[error(
        "read the invite link: it must begin with aeroedge://join? or be an https link ending in /join#..."
    )]
    NotALink,
    /// Longer than 4 KiB.
    #[error("read the invite link: it is longer than any invite link")]
    TooLong,
    /// A newer program made it.
    #[error("read an invite link of version {0:?}: update this program")]
    Version(String),
    /// A part is not there, often because the end was not copied.
    #[error("read the invite link: its {0} is missing, copy the whole link")]
    Missing(&'static str),
    /// A part cannot be read.
    #[error("read the invite link: its {0} is damaged, copy the whole link again")]
    Damaged(&'static str),
    /// A part stands there twice.
    #[error("read the invite link: its {0} is there twice")]
    Twice(&'static str),
}

impl InviteLink {
    /// The form that opens the program.
    pub fn to_text(&self) -> String {
        format!("{SCHEME}{}", self.query())
    }

    /// The form that opens a web page; `base` is like `https://example.org`.
    pub fn to_https(&self, base: &str) -> String {
        format!("{}/join#{}", base.trim_end_matches('/'), self.query())
    }

    /// Reads either form. Unknown parts are passed over, so later versions can add some.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > LINK_MAX {
            return Err(LinkError::TooLong);
        }
        let mut parts = Parts::default();
        for part in query_of(text)?.split('&') {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            match name {
                "v" if value != "1" => {
                    return Err(LinkError::Version(value.chars().take(8).collect()));
                }
                "c" => once(&mut parts.context, value, "context")?,
                "n" => once(&mut parts.name, value, "name")?,
                "k" => once(&mut parts.key, value, "key")?,
                "h" if parts.hints.len() < HINTS_MAX => parts
                    .hints
                    .push(unescape(value).ok_or(LinkError::Damaged("hint"))?),
                _ => {}
            }
        }
        let context = fixed(
            parts.context.ok_or(LinkError::Missing("context"))?,
            "context",
        )?;
        let seed = fixed(parts.key.ok_or(LinkError::Missing("key"))?, "key")?;
        let name = unescape(parts.name.unwrap_or_default()).ok_or(LinkError::Damaged("name"))?;
        parts.hints.retain(|hint| hint.len() <= HINT_MAX);
        Ok(Self {
            context: ContextId(context),
            name: name
                .chars()
                .filter(|character| !character.is_control())
                .take(NAME_MAX)
                .collect(),
            seed: InviteSeed::from_bytes(seed),
            hints: parts.hints,
        })
    }

    fn query(&self) -> String {
        let mut query = format!(
            "v=1&c={}&k={}",
            BASE64URL_NOPAD.encode(&self.context.0),
            BASE64URL_NOPAD.encode(self.seed.as_bytes())
        );
        if !self.name.is_empty() {
            query.push_str("&n=");
            escape(
                &self.name.chars().take(NAME_MAX).collect::<String>(),
                &mut query,
            );
        }
        for hint in self
            .hints
            .iter()
            .filter(|hint| hint.len() <= HINT_MAX)
            .take(HINTS_MAX)
        {
            query.push_str("&h=");
            escape(hint, &mut query);
        }
        query
    }
}

#[derive(Default)]
struct Parts<'a> {
    context: Option<&'a str>,
    name: Option<&'a str>,
    key: Option<&'a str>,
    hints: Vec<String>,
}

fn query_of(text: &str) -> Result<&str, LinkError> {
    if let Some(start) = text.get(..SCHEME.len())
        && start.eq_ignore_ascii_case(SCHEME)
    {
        return Ok(&text[SCHEME.len()..]);
    }
    let is_https = text
        .get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    match text.split_once('#') {
        Some((page, query)) if is_https && page.trim_end_matches('/').ends_with("/join") => {
            Ok(query)
        }
        _ => Err(LinkError::NotALink),
    }
}

fn once<'a>(
    slot: &mut Option<&'a str>,
    value: &'a str,
    what: &'static str,
) -> Result<(), LinkError> {
    if slot.replace(value).is_some() {
        Err(LinkError::Twice(what))
    } else {
        Ok(())
    }
}

fn fixed<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], LinkError> {
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(LinkError::Damaged(what))
}

/// Percent-encodes everything but letters, digits and `-._~`.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&data_encoding::HEXUPPER.encode(&[byte]));
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> InviteLink {
        InviteLink {
            context: ContextId([0xab; 16]),
            name: "Gräfin & Söhne 100%".to_owned(),
            seed: InviteSeed::from_bytes([7; 32]),
            hints: vec![
                "192.168.1.20:8765".to_owned(),
                "wss://hub.example.org/?a=b".to_owned(),
            ],
        }
    }

    #[test]
    fn both_forms_read_back() {
        assert_eq!(InviteLink::parse(&link().to_text()), Ok(link()));
        let https = link().to_https("https://example.org/");
        assert!(https.starts_with("https://example.org/join#v=1&c="));
        assert_eq!(InviteLink::parse(&format!(" {https}\n")), Ok(link()));
    }

    #[test]
    fn a_link_cut_anywhere_never_panics_and_never_gives_another_key() {
        let text = link().to_text();
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            if let Ok(read) = InviteLink::parse(&text[..end]) {
                assert_eq!((read.context, read.seed), (link().context, link().seed));
            }
        }
    }

    #[test]
    fn each_defect_has_its_own_words() {
        let check = |text: &str, expected: LinkError| {
            assert_eq!(InviteLink::parse(text), Err(expected), "{text}");
        };
        check("", LinkError::NotALink);
        check("https://example.org/other#v=1", LinkError::NotALink);
        check("http://example.org/join#v=1", LinkError::NotALink);
        check(
            "aeroedge://join?v=2&c=1",
            LinkError::Version("2".to_owned()),
        );
        check("aeroedge://join?v=1", LinkError::Missing("context"));
        check(
            "aeroedge://join?c=AAAAAAAAAAAAAAAAAAAAAA",
            LinkError::Missing("key"),
        );
        check("aeroedge://join?c=AAAA&k=AA", LinkError::Damaged("context"));
        check("aeroedge://join?c=AAAA&c=AA", LinkError::Twice("context"));
        check(&"a".repeat(5000), LinkError::TooLong);
        let damaged = link().to_text().replace("&n=", "&n=%ff");
        check(&damaged, LinkError::Damaged("name"));
    }
}
