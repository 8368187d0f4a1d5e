//! A second device of the same person: shown a way in on the old one, let in with all groups after six digits were compared.

use aeroedge_device::{Device, PAIRING_MS, PairingState};
use aeroedge_ids::Millis;
use aeroedge_log::pairing::PairingLink;
use zeroize::Zeroizing;

use super::ContextError;

/// A way in for a second device, good once.
#[derive(Debug)]
pub struct PairingOffer {
    /// What the new device scans or is given as text; whoever has it may try.
    pub link: Zeroizing<String>,
    /// Until when.
    pub expires: Millis,
}

/// Shows a way in. One shown before is void.
pub fn offer_pairing(device: &mut Device, now: Millis) -> PairingOffer {
    let link = device.offer_pairing(now, &mut rand::rng());
    PairingOffer {
        link: Zeroizing::new(link.to_text()),
        expires: Millis(now.0.saturating_add(PAIRING_MS)),
    }
}

/// Lets the new device in: both screens show these digits.
pub fn confirm_pairing(device: &mut Device, digits: &str, now: Millis) -> Result<(), ContextError> {
    let digits = read_digits(digits)?;
    device
        .confirm_pairing(digits, now, &mut rand::rng())
        .map_err(ContextError::Pairing)
}

/// How far a pairing has come.
pub fn pairing_state(device: &Device, now: Millis) -> PairingState {
    device.pairing_state(now)
}

/// Ends a pairing, whatever became of it.
pub fn end_pairing(device: &mut Device) {
    device.end_pairing();
}

/// Refuses what is no pairing link.
pub fn check_pairing_link(link: &str) -> Result<PairingLink, ContextError> {
    Ok(PairingLink::parse(link)?)
}

/// Begins to be let in by another device of the same person.
pub fn start_pairing(device: &mut Device, link: PairingLink) -> Result<(), ContextError> {
    Ok(device.start_pairing(link, &mut rand::rng())?)
}

/// Six digits as they are shown, in two groups.
pub fn shown_digits(digits: u32) -> String {
    format!("{:03} {:03}", digits / 1000, digits % 1000)
}

fn read_digits(text: &str) -> Result<u32, ContextError> {
    let digits: String = text
        .chars()
        .filter(|character| !character.is_whitespace() && *character != '-')
        .collect();
    if digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().map_err(|_| ContextError::Digits)
    } else {
        Err(ContextError::Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_read_back_as_they_are_shown() {
        for digits in [0, 7, 12_345, 999_999] {
            assert_eq!(read_digits(&shown_digits(digits)).unwrap(), digits);
        }
        assert_eq!(read_digits("012-345").unwrap(), 12_345);
        for garbage in ["", "12345", "1234567", "12a456", "+12345"] {
            assert!(read_digits(garbage).is_err(), "{garbage}");
        }
    }
}
