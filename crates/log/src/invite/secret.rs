//! The secret that is spoken, not sent: made up by the program, or chosen and found strong enough.
//!
//! Case, spaces and hyphens do not count, so it survives a telephone and a keyboard that corrects.

use std::fmt;

use rand::CryptoRng;
use zeroize::Zeroizing;

const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";
/// Groups of 16 bits in a secret that the program makes up: 64 bits.
const GROUPS: usize = 4;
/// What a chosen secret must be worth, bits.
const BITS_MIN: f64 = 60.0;
/// Longer input is cut, so that nobody can make us chew on megabytes.
const LENGTH_MAX: usize = 256;
/// Words that guessers try first: each counts as little as one of them costs to guess.
const COMMON: &[&str] = &[
    "password",
    "passwort",
    "secret",
    "geheim",
    "qwertz",
    "qwerty",
    "asdf",
    "letmein",
    "welcome",
    "willkommen",
    "iloveyou",
    "monkey",
    "dragon",
    "admin",
    "master",
    "login",
    "hello",
    "hallo",
    "abc",
    "123",
    "test",
    "club",
    "school",
];

/// A secret in the form in which it is stretched: lower-case letters and digits only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// A chosen secret would be guessed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "use this secret: it is worth about {bits:.0} of the 60 bits needed, take the offered one or several unusual words"
)]
pub struct WeakSecret {
    /// The estimate.
    pub bits: f64,
}

impl Secret {
    /// Makes one up: four groups of five letters that can be spoken, 64 bits.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut text = String::with_capacity(GROUPS * 5);
        for _ in 0..GROUPS {
            let mut bits = [0; 2];
            rng.fill_bytes(&mut bits);
            let bits = u16::from_be_bytes(bits);
            let letter = |alphabet: &[u8], shift: u16| {
                char::from(alphabet[usize::from(bits >> shift) & (alphabet.len() - 1)])
            };
            text.push(letter(CONSONANTS, 12));
            text.push(letter(VOWELS, 10));
            text.push(letter(CONSONANTS, 6));
            text.push(letter(VOWELS, 4));
            text.push(letter(CONSONANTS, 0));
        }
        Self(Zeroizing::new(text))
    }

    /// What a joiner typed, whatever it is.
    pub fn typed(text: &str) -> Self {
        let normal = text
            .chars()
            .flat_map(char::to_lowercase)
            .filter(|character| character.is_alphanumeric())
            .take(LENGTH_MAX)
            .collect();
        Self(Zeroizing::new(normal))
    }

    /// What someone who invites chose, if it is strong enough.
    pub fn chosen(text: &str) -> Result<Self, WeakSecret> {
        let secret = Self::typed(text);
        let bits = secret.bits();
        if bits >= BITS_MIN {
            Ok(secret)
        } else {
            Err(WeakSecret { bits })
        }
    }

    /// The text to speak, in groups of five.
    pub fn spoken(&self) -> Zeroizing<String> {
        let mut spoken = Zeroizing::new(String::with_capacity(self.0.len() * 2));
        for (position, character) in self.0.chars().enumerate() {
            if position > 0 && position % 5 == 0 {
                spoken.push('-');
            }
            spoken.push(character);
        }
        spoken
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A cautious estimate: three bits for a letter or digit that is not a repetition, a neighbour of the one before or
    /// part of a word that everybody uses.
    fn bits(&self) -> f64 {
        let mut rest = self.0.as_str().to_owned();
        let mut bits = 0.0;
        for word in COMMON {
            let shorter = rest.replace(word, "\u{0}");
            bits += 4.0 * (rest.len() - shorter.len()).div_ceil(word.len()).min(2) as f64;
            rest = shorter;
        }
        let characters: Vec<char> = rest
            .chars()
            .filter(|character| *character != '\u{0}')
            .collect();
        let period = (1..=characters.len() / 2)
            .find(|period| {
                characters[*period..]
                    .iter()
                    .zip(&characters)
                    .all(|(a, b)| a == b)
            })
            .unwrap_or(characters.len());
        let mut previous = None;
        for character in &characters[..period] {
            let code = u32::from(*character);
            let is_neighbour = previous.is_some_and(|previous: u32| previous.abs_diff(code) <= 1);
            bits += if is_neighbour { 0.5 } else { 3.0 };
            previous = Some(code);
        }
        bits
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(secret)")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn a_made_up_secret_can_be_spoken_and_typed_back() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let secret = Secret::generate(&mut rng);
        let spoken = secret.spoken();
        assert_eq!(
            spoken.split('-').map(str::len).collect::<Vec<_>>(),
            [5, 5, 5, 5]
        );
        assert_eq!(Secret::typed(&spoken), secret);
        assert_eq!(
            Secret::typed(&format!(" {} ", spoken.to_uppercase().replace('-', " "))),
            secret
        );
        assert_eq!(Secret::typed(&spoken.replace('-', "\u{2013}")), secret);
    }

    #[test]
    fn every_made_up_secret_passes_as_a_chosen_one_or_nearly() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let secrets: Vec<_> = (0..200).map(|_| Secret::generate(&mut rng)).collect();
        assert!(secrets.iter().all(|secret| secret.bits() > 40.0));
        assert_ne!(secrets[0], secrets[1]);
    }

    #[test]
    fn what_guessers_try_first_is_weak() {
        for weak in [
            "",
            "hunter2",
            "password password password password",
            "123456789012345678901234567890",
            "abcabcabcabcabcabcabcabcabcabcabc",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "Secret Club School 123",
            "correct horse",
        ] {
            assert!(Secret::chosen(weak).is_err(), "{weak:?}");
        }
        assert!(Secret::chosen("seven purple kettles under the ridge").is_ok());
    }

    #[test]
    fn endless_input_is_cut() {
        assert_eq!(
            Secret::typed(&"ab".repeat(1 << 20)).as_bytes().len(),
            LENGTH_MAX
        );
    }
}
