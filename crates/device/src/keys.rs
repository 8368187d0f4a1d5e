//! Where an installation's secrets rest. The device asks for them and hands them back; it never decides where they lie.

use std::error::Error;

use aeroedge_log::secrets::DeviceSecrets;

/// A place for secrets: the key file in a data folder, a keychain, a variable in a test.
///
/// Several processes may share it. [`crate::Device`] only changes the secrets inside an exclusive database transaction,
/// and loads them again before it does.
pub trait KeyStore: Send {
    /// The secrets as they rest now.
    fn load(&self) -> Result<DeviceSecrets, Box<dyn Error + Send + Sync>>;

    /// Replaces them, durably.
    fn save(&mut self, secrets: &DeviceSecrets) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// Secrets that live as long as the process.
#[derive(Debug, Clone)]
pub struct KeysInMemory(pub std::sync::Arc<std::sync::Mutex<DeviceSecrets>>);

impl KeysInMemory {
    /// Holds `secrets`; clones share them.
    pub fn new(secrets: DeviceSecrets) -> Self {
        Self(std::sync::Arc::new(std::sync::Mutex::new(secrets)))
    }
}

impl KeyStore for KeysInMemory {
    fn load(&self) -> Result<DeviceSecrets, Box<dyn Error + Send + Sync>> {
        Ok(self
            .0
            .lock()
            .map_err(|_| "another thread failed while it held the secrets")?
            .clone())
    }

    fn save(&mut self, secrets: &DeviceSecrets) -> Result<(), Box<dyn Error + Send + Sync>> {
        *self
            .0
            .lock()
            .map_err(|_| "another thread failed while it held the secrets")? = secrets.clone();
        Ok(())
    }
}
