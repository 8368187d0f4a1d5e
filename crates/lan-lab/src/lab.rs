//! Hosts on a bridge: built, addressed and taken down.
//!
//! The namespaces of a lab carry the number and the start of the process that made it, so a lab whose process was killed
//! is recognised and removed by the next one.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Capture;
use crate::system::{LabError, ip, process_start, require_root, run};

const FAMILY: &str = "aeroedge-lab";
/// What fits the addresses of one network of /24.
const MOST_HOSTS: usize = 250;
const LONGEST_WAIT_FOR_LINK: Duration = Duration::from_secs(10);

static LABS_OF_THIS_PROCESS: AtomicU32 = AtomicU32::new(0);

/// Some hosts on one bridge, numbered from 0. Each has an IPv4 and an IPv6 address and hears multicast.
///
/// Dropping it ends the processes that still run on its hosts and removes it.
#[derive(Debug)]
pub struct Lab {
    name: String,
    hosts: usize,
}

impl Lab {
    /// Builds a lab of `hosts` hosts, after removing the labs of processes that are gone.
    ///
    /// # Panics
    ///
    /// For more than 250 hosts.
    pub fn new(hosts: usize) -> Result<Self, LabError> {
        assert!(hosts <= MOST_HOSTS, "a lab has at most {MOST_HOSTS} hosts");
        require_root()?;
        let _building = lock()?;
        remove_stale_labs()?;
        let process = std::process::id();
        let start = process_start(process).unwrap_or_default();
        let number = LABS_OF_THIS_PROCESS.fetch_add(1, Ordering::Relaxed);
        let lab = Self {
            name: format!("{FAMILY}-{process}-{start}-{number}"),
            hosts,
        };
        lab.build()?;
        Ok(lab)
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts
    }

    /// The IPv4 address that `host` has from the beginning.
    pub fn ipv4(&self, host: usize) -> Ipv4Addr {
        self.check(host);
        Ipv4Addr::new(10, 77, 0, host as u8 + 1)
    }

    /// The IPv6 address that `host` has from the beginning.
    pub fn ipv6(&self, host: usize) -> Ipv6Addr {
        self.check(host);
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, host as u16 + 1)
    }

    /// A command that runs `program` on `host`. The process it starts is the program itself, so it can be killed by number.
    pub fn command(&self, host: usize, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(host)])
            .arg(program.as_ref());
        command
    }

    /// Runs `act` on a thread of its own that stands on `host`: a socket opened there stays there, wherever it is used later.
    ///
    /// # Panics
    ///
    /// When `act` does.
    pub fn at<T: Send>(&self, host: usize, act: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let namespace = File::open(Path::new("/run/netns").join(self.namespace(host)))?;
        thread::scope(|scope| {
            let standing = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(act())
            });
            match standing.join() {
                Ok(outcome) => outcome.map_err(|errno: Errno| LabError::Bookkeeping(errno.into())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Gives `host` a further address on the same cable, in a network of /24 or /64.
    pub fn add_address(&self, host: usize, address: IpAddr) -> Result<(), LabError> {
        let (address, option) = match address {
            IpAddr::V4(address) => (format!("{address}/24 brd +"), ""),
            IpAddr::V6(address) => (format!("{address}/64"), "nodad"),
        };
        self.at_host(host, &format!("addr add {address} dev eth0 {option}"))
    }

    /// Takes from `host` all addresses of the family of `address`, then gives it this one. For a moment it has none.
    pub fn change_address(&self, host: usize, address: IpAddr) -> Result<(), LabError> {
        let family = if address.is_ipv4() { "-4" } else { "-6" };
        let namespace = self.namespace(host);
        ip(&format!(
            "{family} -n {namespace} addr flush dev eth0 scope global"
        ))?;
        self.add_address(host, address)?;
        self.route_multicast(host)
    }

    /// Records every packet at the cable of `host` into `file`, from now on.
    pub fn capture(&self, host: usize, file: &Path) -> Result<Capture, LabError> {
        Capture::start(&self.namespace(host), "eth0", file)
    }

    /// Records every packet that crosses the bridge into `file`, from now on.
    pub fn capture_all(&self, file: &Path) -> Result<Capture, LabError> {
        Capture::start(&self.switch(), "bridge", file)
    }

    fn build(&self) -> Result<(), LabError> {
        ip(&format!("netns add {}", self.switch()))?;
        let switch = self.switch();
        ip(&format!("-n {switch} link set lo up"))?;
        ip(&format!(
            "-n {switch} link add bridge type bridge mcast_snooping 0 forward_delay 0"
        ))?;
        ip(&format!("-n {switch} link set bridge up"))?;
        for host in 0..self.hosts {
            self.build_host(host)?;
        }
        self.build_filter()
    }

    fn build_host(&self, host: usize) -> Result<(), LabError> {
        let (switch, port, namespace) = (self.switch(), self.port(host), self.namespace(host));
        ip(&format!("netns add {namespace}"))?;
        ip(&format!(
            "link add {port} netns {switch} type veth peer name eth0 netns {namespace}"
        ))?;
        // Looking for duplicates would keep every IPv6 address, link-local ones too, unusable for a second.
        run(
            "ip",
            &[
                "netns",
                "exec",
                &namespace,
                "sh",
                "-c",
                "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad",
            ],
        )?;
        self.at_host(host, "link set lo up")?;
        self.at_host(host, "link set eth0 up")?;
        self.add_address(host, self.ipv4(host).into())?;
        self.add_address(host, self.ipv6(host).into())?;
        self.route_multicast(host)?;
        self.restore(host)
    }

    /// Without a default route, multicast has to be told which way to go.
    fn route_multicast(&self, host: usize) -> Result<(), LabError> {
        self.at_host(host, "route replace 224.0.0.0/4 dev eth0")
    }

    /// The kernel may take up to a second to notice that a cable is plugged in.
    pub(crate) fn wait_for_link(&self, host: usize) -> Result<(), LabError> {
        let (switch, port, namespace) = (self.switch(), self.port(host), self.namespace(host));
        let deadline = Instant::now() + LONGEST_WAIT_FOR_LINK;
        loop {
            let port = ip(&format!("-d -n {switch} link show {port}"))?;
            let cable = ip(&format!("-n {namespace} link show eth0"))?;
            if port.contains("state forwarding") && cable.contains("state UP") {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(LabError::NoLink { host });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn at_host(&self, host: usize, line: &str) -> Result<(), LabError> {
        ip(&format!("-n {} {line}", self.namespace(host))).map(drop)
    }

    pub(crate) fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    fn namespace(&self, host: usize) -> String {
        self.check(host);
        format!("{}-{host}", self.name)
    }

    pub(crate) fn port(&self, host: usize) -> String {
        self.check(host);
        format!("port{host}")
    }

    #[track_caller]
    fn check(&self, host: usize) {
        assert!(
            host < self.hosts,
            "the lab has {} hosts, no {host}",
            self.hosts
        );
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let prefix = format!("{}-", self.name);
        // A test that fails drops its lab too, and must not hide its own message behind this one. What stays behind is
        // removed by the next lab of another process.
        let _ = remove_namespaces(|namespace| namespace.starts_with(&prefix));
    }
}

/// Held while labs are built: `ip netns add` is not safe beside itself when it runs for the first time on a machine.
fn lock() -> Result<File, LabError> {
    let file = File::create(std::env::temp_dir().join(format!("{FAMILY}.lock")))?;
    file.lock()?;
    Ok(file)
}

fn remove_stale_labs() -> Result<(), LabError> {
    remove_namespaces(|namespace| {
        maker_of(namespace).is_some_and(|(process, start)| process_start(process) != Some(start))
    })
}

/// The number and the start of the process that made a namespace; `None` if no lab did.
fn maker_of(namespace: &str) -> Option<(u32, u64)> {
    let mut fields = namespace
        .strip_prefix(FAMILY)?
        .strip_prefix('-')?
        .split('-');
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn remove_namespaces(is_meant: impl Fn(&str) -> bool) -> Result<(), LabError> {
    let Ok(folder) = fs::read_dir("/run/netns") else {
        return Ok(());
    };
    for entry in folder {
        let name = entry?.file_name();
        let Some(namespace) = name.to_str().filter(|name| is_meant(name)) else {
            continue;
        };
        let processes = ip(&format!("netns pids {namespace}"))?;
        for process in processes.split_whitespace() {
            // It may have ended by itself in the meantime.
            let _ = run("kill", &["-9", process]);
        }
        ip(&format!("netns del {namespace}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maker_is_read_from_the_name() {
        assert_eq!(maker_of("aeroedge-lab-12-3456-0-switch"), Some((12, 3456)));
        assert_eq!(maker_of("aeroedge-lab-12"), None);
        assert_eq!(maker_of("other-12-3456-0-1"), None);
    }

    mod in_namespaces {
        use super::*;

        #[test]
        fn a_lab_of_a_dead_process_is_removed_by_the_next_one() {
            let mut dead = Command::new("true").spawn().unwrap();
            let stale = format!("{FAMILY}-{}-1-0-switch", dead.id());
            dead.wait().unwrap();
            require_root().unwrap();
            ip(&format!("netns add {stale}")).unwrap();
            let living = Lab::new(1).unwrap();
            let listed = ip("netns list").unwrap();
            assert!(!listed.contains(&stale), "{listed}");
            assert!(listed.contains(&living.namespace(0)), "{listed}");
        }

        #[test]
        fn a_dropped_lab_leaves_neither_names_nor_processes() {
            let lab = Lab::new(2).unwrap();
            let name = lab.name.clone();
            let mut sleeper = lab.command(1, "sleep").arg("600").spawn().unwrap();
            assert!(ip("netns list").unwrap().contains(&name));
            drop(lab);
            assert!(!ip("netns list").unwrap().contains(&name));
            assert!(!sleeper.wait().unwrap().success());
        }
    }
}
