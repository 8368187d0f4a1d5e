//! The programs that build the network: how they are called and how they fail.

use std::error::Error;
use std::process::{Command, Stdio};
use std::{fmt, io};

/// A lab could not be built or changed.
#[derive(thiserror::Error)]
pub enum LabError {
    /// The process may not make network namespaces.
    #[error("make a network of its own without root; run the test as root: make test-lan")]
    NotRoot,
    /// A program is missing or cannot be started.
    #[error("start {program}; install what is missing with scripts/setup.sh test")]
    Start {
        /// Its name.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A program ran and refused.
    #[error("run {command}: {said}")]
    Refused {
        /// The whole line.
        command: String,
        /// What it said on standard error.
        said: String,
    },
    /// The cable of a host was plugged in and carries nothing.
    #[error("bring up the cable of host {host}; look at ip -d link in its namespaces")]
    NoLink {
        /// Which host.
        host: usize,
    },
    /// The file that keeps labs from being built at the same moment cannot be locked, or the state of a process not read.
    #[error("look after the labs of this machine")]
    Bookkeeping(#[from] io::Error),
    /// The capture lost packets, so what it does not hold proves nothing.
    #[error("capture every packet: {dropped} were dropped; capture for a shorter time")]
    CaptureIncomplete {
        /// How many were lost.
        dropped: u64,
    },
}

/// The sentence rather than the fields: tests unwrap this error, and whoever runs them should read what to do.
impl fmt::Debug for LabError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "failed to {self}")?;
        match self.source() {
            Some(source) => write!(formatter, ": {source}"),
            None => Ok(()),
        }
    }
}

/// Runs `program`, waits for it, and gives what it said on standard output.
pub(crate) fn run(program: &'static str, arguments: &[&str]) -> Result<String, LabError> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| LabError::Start { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Refused {
        command: format!("{program} {}", arguments.join(" ")),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Runs `ip` with the words of `line`.
pub(crate) fn ip(line: &str) -> Result<String, LabError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    run("ip", &words)
}

/// Fails early and clearly when the process is not root.
pub(crate) fn require_root() -> Result<(), LabError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    match effective_user(&status) {
        Some(0) => Ok(()),
        _ => Err(LabError::NotRoot),
    }
}

/// The effective user in the text of `/proc/<pid>/status`.
fn effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// When the process began, in ticks since the machine started; `None` if there is no such process. Together with the
/// number it tells a process from a later one that was given the same number.
pub(crate) fn process_start(process: u32) -> Option<u64> {
    start_in(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The 22nd field of `/proc/<pid>/stat`, counted from behind the name, which may hold blanks and parentheses.
fn start_in(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwrapped_error_says_what_to_do() {
        assert!(format!("{:?}", LabError::NotRoot).contains("make test-lan"));
        let missing = LabError::Start {
            program: "tcpdump",
            source: io::ErrorKind::NotFound.into(),
        };
        let said = format!("{missing:?}");
        assert!(said.contains("scripts/setup.sh test"), "{said}");
        assert!(said.contains("not found"), "{said}");
    }

    #[test]
    fn the_effective_user_is_the_second_number() {
        let status = "Name:\tcat\nUid:\t1000\t0\t0\t0\nGid:\t1\t2\t3\t4\n";
        assert_eq!(effective_user(status), Some(0));
        assert_eq!(effective_user("Name:\tcat\n"), None);
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a ) b) {}", fields.join(" "));
        assert_eq!(start_in(&stat), Some(22));
        assert_eq!(start_in(""), None);
    }

    #[test]
    fn this_process_has_a_start_and_an_impossible_one_has_none() {
        assert!(process_start(std::process::id()).is_some());
        assert_eq!(process_start(u32::MAX), None);
    }
}
