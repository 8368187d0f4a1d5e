//! What can go wrong between the hosts of a lab, and how it is mended.

use std::fmt::Write;

use crate::Lab;
use crate::system::{LabError, ip, run};

impl Lab {
    /// Pulls the cable of `host`: it sees its carrier go.
    pub fn cut(&self, host: usize) -> Result<(), LabError> {
        self.at_bridge(&format!("link set {} down", self.port(host)))
    }

    /// Loses whatever `host` sends or should receive, and tells nobody: its carrier stays.
    pub fn silence(&self, host: usize) -> Result<(), LabError> {
        self.at_bridge(&format!("link set {} nomaster", self.port(host)))
    }

    /// Mends what [`Lab::cut`] or [`Lab::silence`] did; returns when the cable carries again.
    pub fn restore(&self, host: usize) -> Result<(), LabError> {
        self.at_bridge(&format!("link set {} master bridge up", self.port(host)))?;
        self.wait_for_link(host)
    }

    /// Keeps two hosts from hearing each other; both still hear everyone else.
    pub fn separate(&self, one: usize, other: usize) -> Result<(), LabError> {
        self.change_separation("add", one, other)
    }

    /// Mends what [`Lab::separate`] did.
    pub fn unite(&self, one: usize, other: usize) -> Result<(), LabError> {
        self.change_separation("delete", one, other)
    }

    /// Loses each packet that `host` sends or should receive with the chance of `per_thousand`; 0 loses none.
    ///
    /// # Panics
    ///
    /// For more than 1000.
    pub fn lose(&self, host: usize, per_thousand: u32) -> Result<(), LabError> {
        assert!(per_thousand <= 1000, "no more than all can be lost");
        let chain = loss_chain(host);
        let mut rules = format!("flush chain bridge lab {chain}");
        if per_thousand > 0 {
            let chance = format!("numgen random mod 1000 < {per_thousand}");
            rules = format!("{rules}; add rule bridge lab {chain} {chance} drop");
        }
        self.at_filter(&rules)
    }

    /// Lays the table that the faults between hosts are written to.
    pub(crate) fn build_filter(&self) -> Result<(), LabError> {
        let mut chains = String::new();
        let mut jumps = String::new();
        for host in 0..self.hosts() {
            let (port, chain) = (self.port(host), loss_chain(host));
            // Writing to a string does not fail.
            let _ = write!(chains, "chain {chain} {{ }}; ");
            let _ = write!(
                jumps,
                "iifname {port} jump {chain}; oifname {port} jump {chain}; "
            );
        }
        self.at_filter(&format!(
            "table bridge lab {{ \
               set separated {{ type ifname . ifname; }}; \
               {chains} \
               chain forward {{ \
                 type filter hook forward priority 0; policy accept; \
                 iifname . oifname @separated drop; \
                 {jumps} \
               }}; \
             }}"
        ))
    }

    fn change_separation(&self, verb: &str, one: usize, other: usize) -> Result<(), LabError> {
        let (one, other) = (self.port(one), self.port(other));
        self.at_filter(&format!(
            "{verb} element bridge lab separated {{ {one} . {other}, {other} . {one} }}"
        ))
    }

    fn at_bridge(&self, line: &str) -> Result<(), LabError> {
        ip(&format!("-n {} {line}", self.switch())).map(drop)
    }

    fn at_filter(&self, rules: &str) -> Result<(), LabError> {
        run("ip", &["netns", "exec", &self.switch(), "nft", rules]).map(drop)
    }
}

fn loss_chain(host: usize) -> String {
    format!("loss{host}")
}
