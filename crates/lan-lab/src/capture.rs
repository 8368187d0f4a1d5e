//! Records packets with tcpdump.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::system::{LabError, run};

/// A recording that runs until it is finished or dropped.
#[derive(Debug)]
pub struct Capture {
    program: Child,
    said: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Capture {
    /// Starts recording at `interface` in `namespace`; returns when the recording runs.
    pub(crate) fn start(namespace: &str, interface: &str, file: &Path) -> Result<Self, LabError> {
        let failed = |source| LabError::Start {
            program: "tcpdump",
            source,
        };
        let mut program = Command::new("ip")
            .args(["netns", "exec", namespace, "tcpdump", "-i", interface])
            // Whole packets, written at once by root, with room for 64 MiB that wait to be written.
            .args([
                "-s",
                "0",
                "-U",
                "--immediate-mode",
                "-Z",
                "root",
                "-B",
                "65536",
                "-w",
            ])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stderr = program.stderr.take();
        let stderr = stderr.ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        let mut capture = Self {
            program,
            said: BufReader::new(stderr),
            file: file.to_owned(),
        };
        let mut everything = String::new();
        loop {
            let before = everything.len();
            if capture.said.read_line(&mut everything)? == 0 {
                return Err(LabError::Refused {
                    command: format!("tcpdump -i {interface}"),
                    said: everything.trim().to_owned(),
                });
            }
            if everything[before..].contains("listening on") {
                return Ok(capture);
            }
        }
    }

    /// Stops recording and gives the file, in the classic pcap format. Fails if a packet was lost.
    pub fn finish(mut self) -> Result<PathBuf, LabError> {
        // tcpdump counts and closes its file when it is interrupted.
        run("kill", &["-INT", &self.program.id().to_string()])?;
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        self.program.wait()?;
        match dropped(&said) {
            Some(0) => Ok(self.file.clone()),
            Some(dropped) => Err(LabError::CaptureIncomplete { dropped }),
            None => Err(LabError::Refused {
                command: "tcpdump".into(),
                said,
            }),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// How many packets tcpdump says it lost, by the kernel or by the interface.
fn dropped(said: &str) -> Option<u64> {
    let mut sum = None;
    for line in said.lines() {
        if let Some((number, _)) = line.trim().split_once(" packets dropped by ")
            && let Ok(number) = number.parse::<u64>()
        {
            sum = Some(sum.unwrap_or(0) + number);
        } else if line.trim().starts_with("1 packet dropped by ") {
            sum = Some(sum.unwrap_or(0) + 1);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packets_are_counted() {
        let clean =
            "2 packets captured\n2 packets received by filter\n0 packets dropped by kernel\n";
        assert_eq!(dropped(clean), Some(0));
        assert_eq!(
            dropped("3 packets dropped by kernel\n1 packet dropped by interface\n"),
            Some(4)
        );
        assert_eq!(dropped("tcpdump: eth0: No such device exists"), None);
    }
}
