//! The node that a command needs: the one that runs on the data folder, or one that lives as long as the command.

use aeroedge_api::types::{Join, NewJoin, Pairing, PairingConsent, PairingOffer, SyncStatus};
use aeroedge_device::Device;
use aeroedge_node::Node;
use reqwest::Method;

use super::Office;
use crate::failure::Failure;
use crate::program::Program;
use crate::running::Client;

/// A node, wherever it runs.
#[derive(Debug)]
pub(crate) enum NodeAccess {
    /// In another process.
    Running(Client),
    /// In this one.
    Own {
        /// Kept to be stopped.
        node: Box<Node<Device>>,
        /// What it can do.
        program: Program,
    },
}

impl NodeAccess {
    pub(super) async fn open(office: Office) -> Result<Self, Failure> {
        if let Some(client) = Client::find(&office.installation.folder).await {
            return Ok(Self::Running(client));
        }
        let (node, program) = Program::start(office.installation.device, Some(0)).await?;
        Ok(Self::Own {
            node: Box::new(node),
            program,
        })
    }

    /// A node that this process has started.
    pub(super) fn own(node: Node<Device>, program: Program) -> Self {
        Self::Own {
            node: Box::new(node),
            program,
        }
    }

    pub(super) async fn join(&self, new: &NewJoin) -> Result<Join, Failure> {
        match self {
            Self::Running(client) => client.post("/v1/joins", new).await,
            Self::Own { program, .. } => program.join(new.clone()).await,
        }
    }

    pub(super) async fn join_state(&self, context: &str) -> Result<Join, Failure> {
        match self {
            Self::Running(client) => client.get(&format!("/v1/joins/{context}")).await,
            Self::Own { program, .. } => program.join_state(context.to_owned()).await,
        }
    }

    pub(super) async fn cancel_join(&self, context: &str) -> Result<(), Failure> {
        match self {
            Self::Running(client) => {
                client
                    .call(Method::DELETE, &format!("/v1/joins/{context}"))
                    .await
            }
            Self::Own { program, .. } => program.cancel_join(context.to_owned()).await,
        }
    }

    pub(super) async fn offer_pairing(&self) -> Result<PairingOffer, Failure> {
        match self {
            Self::Running(client) => client.post("/v1/pairing", &()).await,
            Self::Own { program, .. } => program.offer_pairing().await,
        }
    }

    pub(super) async fn pairing(&self) -> Result<Pairing, Failure> {
        match self {
            Self::Running(client) => client.get("/v1/pairing").await,
            Self::Own { program, .. } => program.pairing().await,
        }
    }

    pub(super) async fn confirm_pairing(&self, digits: String) -> Result<Pairing, Failure> {
        match self {
            Self::Running(client) => {
                let consent = PairingConsent { digits };
                client.post("/v1/pairing/consent", &consent).await
            }
            Self::Own { program, .. } => program.confirm_pairing(digits).await,
        }
    }

    pub(super) async fn end_pairing(&self) -> Result<(), Failure> {
        match self {
            Self::Running(client) => client.call(Method::DELETE, "/v1/pairing").await,
            Self::Own { program, .. } => program.end_pairing().await,
        }
    }

    pub(super) async fn sync_now(&self) -> Result<(), Failure> {
        match self {
            Self::Running(client) => client.call(Method::POST, "/v1/sync/now").await,
            Self::Own { program, .. } => program.sync_now().await,
        }
    }

    pub(super) async fn sync_status(&self) -> Result<SyncStatus, Failure> {
        match self {
            Self::Running(client) => client.get("/v1/sync").await,
            Self::Own { program, .. } => program.sync_status().await,
        }
    }

    /// Ends a node of this process; one of another goes on.
    pub(super) async fn end(self) {
        if let Self::Own { node, program } = self {
            drop(program);
            node.stop().await;
        }
    }
}
