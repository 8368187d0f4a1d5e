//! The secret that lets a program of the same person in.
//!
//! It lives in a file only that person may read, is compared in constant time and is never printed.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What a proof is a proof of, and nothing else ever is.
const PROOF: &[u8] = b"AeroEdge node 1";

/// Random bytes, shown in hexadecimal to those who may see them.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The token file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("use the token file {path}; delete it to get a new one")]
pub struct TokenError {
    path: String,
    source: io::Error,
}

impl Token {
    /// A new token of 256 random bits.
    pub fn random(rng: &mut impl rand::CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(HEXLOWER.encode(&bytes))
    }

    /// The token in the file, which is made if it is missing, readable by its owner only.
    pub fn load_or_create(path: &Path, rng: &mut impl rand::CryptoRng) -> Result<Self, TokenError> {
        read_or_write(path, rng).map_err(|source| TokenError {
            path: path.display().to_string(),
            source,
        })
    }

    /// The token in the file.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        read(path).map_err(|source| TokenError {
            path: path.display().to_string(),
            source,
        })
    }

    /// What only a holder of the token can say about `nonce`, at one port: whoever passes the question on to the true
    /// program gets an answer that is good for the true program's port alone.
    pub fn proof(&self, port: u16, nonce: &str) -> String {
        let mut mac = Hmac::<Sha256>::new(&key_of(&self.0));
        mac.update(PROOF);
        mac.update(&port.to_be_bytes());
        mac.update(nonce.as_bytes());
        HEXLOWER.encode(&mac.finalize().into_bytes())
    }

    /// Whether `proof` is the one for this port and nonce.
    pub fn is_proved_by(&self, proof: &str, port: u16, nonce: &str) -> bool {
        self.proof(port, nonce)
            .as_bytes()
            .ct_eq(proof.as_bytes())
            .into()
    }

    /// Whether what a caller offers is this token; takes equally long wherever they differ.
    pub fn matches(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }

    /// The text for a request's `Authorization: Bearer`, or for the fragment of the page's address.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// A key of the length of one block.
fn key_of(token: &str) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (to, from) in key.iter_mut().zip(token.as_bytes()) {
        *to = *from;
    }
    key
}

fn read_or_write(path: &Path, rng: &mut impl rand::CryptoRng) -> io::Result<Token> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => {
            let token = Token::random(rng);
            file.write_all(token.0.as_bytes())?;
            file.sync_all()?;
            Ok(token)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Token> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
    }
    let text = fs::read_to_string(path)?.trim().to_owned();
    match HEXLOWER.decode(text.as_bytes()) {
        Ok(bytes) if bytes.len() == 32 => Ok(Token(text)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not hold 64 hexadecimal digits",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_keeps_the_token_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.token");
        let first = Token::load_or_create(&path, &mut rand::rng()).unwrap();
        let second = Token::load_or_create(&path, &mut rand::rng()).unwrap();
        assert!(first.matches(second.reveal()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.token");
        fs::write(&path, "short").unwrap();
        assert!(Token::load_or_create(&path, &mut rand::rng()).is_err());
    }

    #[test]
    fn a_proof_is_good_for_one_token_one_port_and_one_nonce() {
        let token = Token::random(&mut rand::rng());
        let proof = token.proof(8766, "nonce");
        assert!(token.is_proved_by(&proof, 8766, "nonce"));
        assert!(!token.is_proved_by(&proof, 8767, "nonce"));
        assert!(!token.is_proved_by(&proof, 8766, "another"));
        assert!(!token.is_proved_by("", 8766, "nonce"));
        assert!(!Token::random(&mut rand::rng()).is_proved_by(&proof, 8766, "nonce"));
        assert!(!proof.contains(token.reveal()));
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = Token::random(&mut rand::rng());
        assert!(!token.matches(""));
        assert!(!token.matches(&token.reveal()[1..]));
        assert!(!format!("{token:?}").contains(token.reveal()));
    }
}
