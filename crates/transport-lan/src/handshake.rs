//! Noise XX over a fresh socket, with keys that live as long as the driver.
//!
//! No member or device is named: both ends only prove which instance they are. Whoever listens sees random bytes of
//! fixed length; whoever answers in the name of another instance is found out before the first frame.

use std::io;
use std::sync::Arc;

use aeroedge_transport::Side;
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::instance::{Instance, InstanceKeys};

const PATTERN: &str = "Noise_XX_25519_AESGCM_SHA256";
/// Another version of this wire is another prologue, so that versions cannot be confused.
const PROLOGUE: &[u8] = b"aeroedge lan 1";
/// The longest handshake message is 96 bytes; whatever announces more is something else.
const MESSAGE_MAX: usize = 96;

/// An encrypted channel and who is at its other end.
pub(crate) struct Secured {
    pub(crate) noise: Arc<StatelessTransportState>,
    pub(crate) binding: [u8; 32],
    pub(crate) remote: Instance,
}

/// A socket did not become a channel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the other side ended the connection during the handshake")]
    Connection(#[from] io::Error),
    #[error("the other side does not speak this version of the AeroEdge protocol")]
    Foreign,
    #[error("the handshake failed")]
    Noise(#[from] snow::Error),
}

pub(crate) fn builder<'key>() -> Result<Builder<'key>, snow::Error> {
    Builder::new(PATTERN.parse()?).prologue(PROLOGUE)
}

/// Runs the handshake; the caller bounds the time it may take.
pub(crate) async fn shake<S>(
    stream: &mut S,
    side: Side,
    keys: &InstanceKeys,
) -> Result<Secured, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let builder = builder()?.local_private_key(&keys.private)?;
    let mut noise = match side {
        Side::Dialled => builder.build_initiator()?,
        Side::Accepted => builder.build_responder()?,
    };
    while !noise.is_handshake_finished() {
        if noise.is_my_turn() {
            write(stream, &mut noise).await?;
        } else {
            read(stream, &mut noise).await?;
        }
    }
    let remote = noise.get_remote_static().and_then(Instance::from_bytes);
    Ok(Secured {
        binding: noise
            .get_handshake_hash()
            .try_into()
            .map_err(|_| HandshakeError::Foreign)?,
        remote: remote.ok_or(HandshakeError::Foreign)?,
        noise: Arc::new(noise.into_stateless_transport_mode()?),
    })
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    noise: &mut HandshakeState,
) -> Result<(), HandshakeError> {
    let mut message = [0; 2 + MESSAGE_MAX];
    let length = noise.write_message(&[], &mut message[2..])?;
    message[..2].copy_from_slice(&(length as u16).to_be_bytes());
    stream.write_all(&message[..2 + length]).await?;
    Ok(())
}

async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    noise: &mut HandshakeState,
) -> Result<(), HandshakeError> {
    let length = usize::from(stream.read_u16().await?);
    let mut message = [0; MESSAGE_MAX];
    let message = message.get_mut(..length).ok_or(HandshakeError::Foreign)?;
    stream.read_exact(message).await?;
    let mut payload = [0; MESSAGE_MAX];
    noise
        .read_message(message, &mut payload)
        .map_err(|_| HandshakeError::Foreign)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[tokio::test]
    async fn both_ends_learn_who_the_other_is() {
        let (here, there) = (
            InstanceKeys::generate().unwrap(),
            InstanceKeys::generate().unwrap(),
        );
        let (mut near, mut far) = tokio::io::duplex(1024);
        let (near, far) = tokio::join!(
            shake(&mut near, Side::Dialled, &here),
            shake(&mut far, Side::Accepted, &there)
        );
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!(near.binding, far.binding);
        assert_eq!((near.remote, far.remote), (there.public, here.public));
    }

    #[tokio::test]
    async fn garbage_is_refused_at_either_end() {
        let keys = InstanceKeys::generate().unwrap();
        for seed in 0..200_usize {
            let mut garbage = vec![0; seed];
            rand::rng().fill_bytes(&mut garbage);
            if seed % 2 == 0 && seed > 2 {
                // A plausible length in front lets the garbage reach the cipher.
                garbage[..2].copy_from_slice(&(seed as u16 % 97).to_be_bytes());
            }
            for side in [Side::Dialled, Side::Accepted] {
                let (mut near, mut far) = tokio::io::duplex(4096);
                far.write_all(&garbage).await.unwrap();
                far.shutdown().await.unwrap();
                assert!(shake(&mut near, side, &keys).await.is_err());
            }
        }
    }
}
