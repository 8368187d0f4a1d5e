//! The proof that two rows are copies of one flight: both are signed by a key that was made for this flight alone.
//!
//! A flight is named by its key, so nobody else can make a copy under its name. The key is forgotten when the copies are
//! made: nobody, not even their author, can add one later or put one in another place.

use std::fmt;

use aeroedge_aviation_store::flights::links::Claim;
use aeroedge_aviation_store::flights::{Link, Place};
use ed25519_dalek::{SIGNATURE_LENGTH, Signature, Signer, SigningKey, VerifyingKey};
use rand::Rng;
use sha2::{Digest, Sha256};

const UID_DOMAIN: &[u8] = b"aeroedge flight uid v1";
const COPY_DOMAIN: &[u8] = b"aeroedge flight copy v1";
const KEY_LENGTH: usize = ed25519_dalek::PUBLIC_KEY_LENGTH;

/// The key of one flight, while its copies are made.
pub(super) struct FlightKey(SigningKey);

impl fmt::Debug for FlightKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlightKey(secret)")
    }
}

impl FlightKey {
    pub(super) fn generate(rng: &mut impl Rng) -> Self {
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *secret);
        Self(SigningKey::from_bytes(&secret))
    }

    /// What makes the row at a place a copy of the flight.
    pub(super) fn link(&self, place: &Place) -> Link {
        let key = self.0.verifying_key().to_bytes();
        let signature = self.0.sign(&message(place)).to_bytes();
        Link {
            flight_uid: uid_of(&key),
            proof: [key.as_slice(), signature.as_slice()].concat(),
        }
    }
}

/// Whether a row is a copy of what it says.
pub(super) fn holds(claim: &Claim) -> bool {
    let Some((key, signature)) = claim.link.proof.split_first_chunk::<KEY_LENGTH>() else {
        return false;
    };
    let Ok(signature) = <[u8; SIGNATURE_LENGTH]>::try_from(signature) else {
        return false;
    };
    claim.link.flight_uid == uid_of(key)
        && VerifyingKey::from_bytes(key).is_ok_and(|key| {
            key.verify_strict(&message(&claim.place), &Signature::from_bytes(&signature))
                .is_ok()
        })
}

/// The id of a flight, in the form of a UUID.
fn uid_of(key: &[u8; KEY_LENGTH]) -> String {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(UID_DOMAIN)
        .chain_update(key)
        .finalize()
        .into();
    let (half, _) = digest.split_at(16);
    let half = <[u8; 16]>::try_from(half).unwrap_or_default();
    uuid::Builder::from_custom_bytes(half)
        .into_uuid()
        .to_string()
}

fn message(place: &Place) -> Vec<u8> {
    [COPY_DOMAIN, &place.compartment.0, place.id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use aeroedge_ids::CompartmentId;
    use data_encoding::HEXLOWER;

    use super::*;

    fn place(compartment: u8, id: &str) -> Place {
        Place {
            compartment: CompartmentId([compartment; 16]),
            id: id.to_owned(),
        }
    }

    fn key(number: u8) -> FlightKey {
        FlightKey(SigningKey::from_bytes(&[number; 32]))
    }

    fn claim(place: Place, link: Link) -> Claim {
        Claim { place, link }
    }

    #[test]
    fn a_copy_holds_in_its_place_only() {
        let link = key(1).link(&place(1, "row"));
        assert!(holds(&claim(place(1, "row"), link.clone())));
        for elsewhere in [place(2, "row"), place(1, "other"), place(1, "ro")] {
            assert!(!holds(&claim(elsewhere, link.clone())));
        }
    }

    #[test]
    fn nobody_else_makes_a_copy_under_the_same_name() {
        let theirs = key(1).link(&place(1, "row"));
        let mut forged = key(2).link(&place(2, "row"));
        assert_ne!(forged.flight_uid, theirs.flight_uid);
        forged.flight_uid.clone_from(&theirs.flight_uid);
        assert!(!holds(&claim(place(2, "row"), forged.clone())));
        // Their key with one's own signature.
        forged.proof[..KEY_LENGTH].copy_from_slice(&theirs.proof[..KEY_LENGTH]);
        assert!(!holds(&claim(place(2, "row"), forged)));
    }

    #[test]
    fn what_is_no_proof_holds_nothing() {
        let link = key(1).link(&place(1, "row"));
        for length in [0, 31, 32, 95] {
            let mut cut = link.clone();
            cut.proof.truncate(length);
            assert!(!holds(&claim(place(1, "row"), cut)), "{length}");
        }
        let mut longer = link.clone();
        longer.proof.push(0);
        assert!(!holds(&claim(place(1, "row"), longer)));
        let mut weak = link;
        weak.proof = vec![0; 96];
        weak.flight_uid = uid_of(&[0; 32]);
        assert!(!holds(&claim(place(1, "row"), weak)));
    }

    #[test]
    fn the_bytes_are_those_of_the_description() {
        let link = key(7).link(&place(9, "01990000-0000-7000-8000-000000000001"));
        // Worked out by another program from what docs/format.md says.
        assert_eq!(link.flight_uid, "fa47aed6-0415-832b-a7f9-b60f08ab5924");
        assert_eq!(
            HEXLOWER.encode(&link.proof),
            "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c\
             68b01f6ad3fc81e292fdddb477cd66af572d4770a9fdf219608ee904ac2797d6\
             900fa92d339e4005012b33e9fbb979f1968c72388f3a6831b010ec6d219b5202"
        );
    }
}
