//! Where secrets come from: a prompt, a file or standard input. They are wiped from memory after use.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use aeroedge_app::explain::Kind;
use zeroize::Zeroizing;

use crate::arguments::{GlobalArguments, SecretArguments};
use crate::failure::Failure;

/// Nothing a person would type or speak is longer.
const LENGTH_MAX: usize = 1024;

/// A secret that is wiped when dropped.
pub(crate) type Secret = Zeroizing<String>;

/// The secret of an invitation.
pub(crate) fn invitation(arguments: &SecretArguments) -> Result<Secret, Failure> {
    match given(arguments)? {
        Some(secret) => Ok(secret),
        None => ask(
            "Secret that was spoken to you: ",
            "give it with --secret-file or --secret-stdin",
        ),
    }
}

/// The secret of an invitation, if a file or standard input was named.
pub(crate) fn given(arguments: &SecretArguments) -> Result<Option<Secret>, Failure> {
    if let Some(path) = &arguments.secret_file {
        return from_file(path).map(Some);
    }
    if arguments.secret_stdin {
        return from_stdin().map(Some);
    }
    Ok(None)
}

/// A new secret, typed twice.
pub(crate) fn choose(what: &str, otherwise: &str) -> Result<Secret, Failure> {
    let first = ask(&format!("{what}: "), otherwise)?;
    let second = ask(&format!("{what}, once more: "), otherwise)?;
    if *first != *second {
        return Err(Failure::new(
            Kind::Invalid,
            "the two are not the same",
            "try again; nothing was changed",
        ));
    }
    Ok(first)
}

/// The passphrase that seals this device's keys, when it is needed.
pub(crate) fn passphrase(arguments: &GlobalArguments) -> Result<Secret, Failure> {
    match passphrase_given(arguments)? {
        Some(passphrase) => Ok(passphrase),
        None => ask(
            "Passphrase of this device: ",
            "give it with --passphrase-file or --passphrase-stdin",
        ),
    }
}

/// A new passphrase for this device's keys.
pub(crate) fn new_passphrase(arguments: &GlobalArguments) -> Result<Secret, Failure> {
    match passphrase_given(arguments)? {
        Some(passphrase) => Ok(passphrase),
        None => choose(
            "New passphrase for this device",
            "give it with --passphrase-file or --passphrase-stdin",
        ),
    }
}

fn passphrase_given(arguments: &GlobalArguments) -> Result<Option<Secret>, Failure> {
    if let Some(path) = &arguments.passphrase_file {
        return from_file(path).map(Some);
    }
    if arguments.passphrase_stdin {
        return from_stdin().map(Some);
    }
    Ok(None)
}

/// The first line of a file.
pub(crate) fn from_file(path: &Path) -> Result<Secret, Failure> {
    let cannot = |error: io::Error| {
        Failure::new(
            match error.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Failure,
            },
            format!("cannot read the secret from {}: {error}", path.display()),
            "name a text file whose first line is the secret",
        )
    };
    let file = fs::File::open(path).map_err(cannot)?;
    first_line(io::BufReader::new(file), &path.display().to_string()).map_err(cannot)?
}

pub(crate) fn from_stdin() -> Result<Secret, Failure> {
    first_line(io::stdin().lock(), "standard input").map_err(|error| {
        Failure::new(
            Kind::Failure,
            format!("cannot read the secret from standard input: {error}"),
            "",
        )
    })?
}

fn first_line(reader: impl BufRead, from: &str) -> io::Result<Result<Secret, Failure>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LENGTH_MAX + 2));
    io::Read::take(reader, LENGTH_MAX as u64 + 2).read_until(b'\n', &mut line)?;
    let trimmed = line.trim_ascii();
    let wrong = |why: &str| {
        Ok(Err(Failure::new(
            Kind::Invalid,
            format!("the secret from {from} {why}"),
            "its first line must be the secret and nothing else",
        )))
    };
    if trimmed.is_empty() {
        return wrong("is empty");
    }
    if trimmed.len() > LENGTH_MAX {
        return wrong("is too long");
    }
    match std::str::from_utf8(trimmed) {
        Ok(text) => Ok(Ok(Zeroizing::new(text.to_owned()))),
        Err(_) => wrong("is not text"),
    }
}

/// Asks at the terminal, without showing what is typed.
pub(crate) fn ask(prompt: &str, otherwise: &str) -> Result<Secret, Failure> {
    let nobody = || {
        Failure::new(
            Kind::Invalid,
            "a secret is needed and there is no terminal to ask on",
            otherwise,
        )
    };
    if !io::stdin().is_terminal() {
        return Err(nobody());
    }
    let typed = rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|_| nobody())?;
    let trimmed = typed.trim();
    if trimmed.is_empty() {
        return Err(Failure::new(
            Kind::Invalid,
            "nothing was typed",
            "try again; nothing was changed",
        ));
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}

/// Asks before something that cannot be undone, unless `yes` was said already.
pub(crate) fn consent(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Kind::Invalid,
            "this asks first, and there is no terminal to ask on",
            "add --yes; nothing was changed",
        ));
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new(
            Kind::Refused,
            "not done",
            "nothing was changed",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts_without_its_end() {
        let read = |bytes: &[u8]| first_line(bytes, "here").unwrap();
        assert_eq!(*read(b"amber boat\r\nmore").unwrap(), "amber boat");
        assert!(read(b"").is_err());
        assert!(read(b"\n").is_err());
        assert!(read(b"\xff\xfe").is_err());
        assert!(read(&[b'a'; LENGTH_MAX + 1]).is_err());
    }
}
