use super::frame::{FrameType, put_frame};
use crate::load::Load;
use crate::wire::bytes::{Take, name_length, put_name};
use crate::wire::{Limits, ProtocolError};

/// The bits in which a client offers and requires, and a server chooses, what is switched on.
pub mod features {
    /// Every record is authenticated.
    pub const SIGN: u32 = 1;
    /// Bodies may be compressed.
    pub const COMPRESS: u32 = 2;
    /// Every record is encrypted, and so authenticated.
    pub const ENCRYPT: u32 = 4;
    /// All bits that this version knows.
    pub const KNOWN: u32 = SIGN | COMPRESS | ENCRYPT;
}

/// Longest key share of an ephemeral exchange, in bytes.
pub(super) const MAX_EXCHANGE: usize = 256;

/// CLIENT_HELLO: who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// What it can do ([`features`]).
    pub offers: u32,
    /// What it insists on.
    pub requires: u32,
    /// The id of the pair key that it uses; zero for none.
    pub key_id: [u8; 8],
    /// Random, with a key; zero without.
    pub nonce: [u8; 32],
    /// Its share of an ephemeral key exchange: reserved, empty.
    pub exchange: &'a [u8],
    /// The client's node.
    pub node: &'a str,
}

impl<'a> ClientHello<'a> {
    /// A hello without security.
    #[must_use]
    pub fn plain(node: &'a str) -> Self {
        Self { offers: 0, requires: 0, key_id: [0; 8], nonce: [0; 32], exchange: &[], node }
    }

    pub(super) const MAX: u64 = 52 + MAX_EXCHANGE as u64 + u8::MAX as u64;

    /// Writes the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_frame(FrameType::ClientHello, 0, 0, out, |out| {
            let exchange = &self.exchange[..self.exchange.len().min(MAX_EXCHANGE)];
            out.extend_from_slice(&self.offers.to_le_bytes());
            out.extend_from_slice(&self.requires.to_le_bytes());
            out.extend_from_slice(&self.key_id);
            out.extend_from_slice(&self.nonce);
            out.extend_from_slice(&(exchange.len() as u16).to_le_bytes());
            out.push(name_length(self.node));
            out.push(0);
            out.extend_from_slice(exchange);
            put_name(self.node, out);
        });
    }

    /// Reads the payload of one frame.
    ///
    /// # Errors
    /// Any field that `docs/protocol.md` does not allow.
    pub fn take(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("CLIENT_HELLO", payload);
        let offers = take.u32()?;
        let requires = take.u32()?;
        let key_id = take.array()?;
        let nonce = take.array()?;
        let exchange_length = usize::from(take.u16()?);
        let node_length = usize::from(take.u8()?);
        take.zero::<1>()?;
        if exchange_length > MAX_EXCHANGE {
            return Err(take.malformed("the key share is longer than 256 bytes"));
        }
        let exchange = take.bytes(exchange_length)?;
        let node = take.name(node_length)?;
        if requires & !offers != 0 {
            return Err(take.malformed("it requires what it does not offer"));
        }
        take.end()?;
        Ok(Self { offers, requires, key_id, nonce, exchange, node })
    }
}

/// SERVER_HELLO: what is agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHello<'a> {
    /// What is switched on ([`features`]).
    pub chosen: u32,
    /// What the server takes.
    pub limits: Limits,
    /// How busy it is.
    pub load: Load,
    /// Random, with a key; zero without.
    pub nonce: [u8; 32],
    /// Proof of the key over both hellos; zero without a key.
    pub proof: [u8; 32],
    /// Its share of an ephemeral key exchange: reserved, empty.
    pub exchange: &'a [u8],
}

impl<'a> ServerHello<'a> {
    /// A hello without security.
    #[must_use]
    pub fn plain(limits: Limits, load: Load) -> Self {
        Self { chosen: 0, limits, load, nonce: [0; 32], proof: [0; 32], exchange: &[] }
    }

    pub(super) const MAX: u64 = 92 + MAX_EXCHANGE as u64;

    /// Writes the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_frame(FrameType::ServerHello, 0, 0, out, |out| {
            let exchange = &self.exchange[..self.exchange.len().min(MAX_EXCHANGE)];
            out.extend_from_slice(&self.chosen.to_le_bytes());
            out.extend_from_slice(&self.limits.max_body.to_le_bytes());
            out.extend_from_slice(&self.limits.max_file.to_le_bytes());
            out.extend_from_slice(&self.limits.max_files.to_le_bytes());
            out.extend_from_slice(&self.load.busy.to_le_bytes());
            out.extend_from_slice(&self.load.workers.to_le_bytes());
            out.extend_from_slice(&(exchange.len() as u16).to_le_bytes());
            out.extend_from_slice(&self.nonce);
            out.extend_from_slice(&self.proof);
            out.extend_from_slice(exchange);
        });
    }

    /// Reads the payload of one frame.
    ///
    /// # Errors
    /// Any field that `docs/protocol.md` does not allow.
    pub fn take(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut take = Take::new("SERVER_HELLO", payload);
        let chosen = take.u32()?;
        let max_body = take.u64()?;
        let max_file = take.u64()?;
        let max_files = take.u16()?;
        let load = Load { busy: take.u16()?, workers: take.u16()? };
        let exchange_length = usize::from(take.u16()?);
        let nonce = take.array()?;
        let proof = take.array()?;
        if exchange_length > MAX_EXCHANGE {
            return Err(take.malformed("the key share is longer than 256 bytes"));
        }
        let exchange = take.bytes(exchange_length)?;
        if chosen & !features::KNOWN != 0 {
            return Err(take.malformed("it switches on what this version does not know"));
        }
        take.end()?;
        Ok(Self { chosen, limits: Limits { max_body, max_files, max_file }, load, nonce, proof, exchange })
    }
}
