//! All that the platform's processes have in common; made before the first fork.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use ibp_core::Load;
use ibp_shm::Reader;
use rustix::event::EventfdFlags;

use crate::event::Event;
use crate::listener::Listener;
use crate::passing::Counter;
use crate::service::Service;
use crate::settings::Settings;
use crate::shared::board::Board;
use crate::shared::control::Control;
use crate::shared::outcomes::Outcomes;
use crate::shared::spill::Spill;
use crate::shared::table::Table;
use crate::sys::descriptor::Descriptor;
use crate::sys::ready_set::{Interest, ReadySet};

pub(crate) struct Pool {
    pub(crate) settings: Settings,
    pub(crate) node: String,
    pub(crate) services: HashMap<String, Box<dyn Service>>,
    pub(crate) configuration: Option<Reader>,
    pub(crate) control: Control,
    pub(crate) board: Board,
    pub(crate) table: Table,
    pub(crate) outcomes: Outcomes,
    pub(crate) spill: Spill,
    pub(crate) ready: ReadySet,
    pub(crate) listeners: Vec<Listener>,
    /// Where each slot's keeper passes its connections to others.
    pub(crate) counters: Vec<Counter>,
    pub(crate) wake: Doorbell,
    /// Rung by each worker when it begins to serve.
    pub(crate) started: Doorbell,
}

impl Pool {
    /// Puts the listeners and the doorbell into the ready set.
    pub(crate) fn arm_all(&self) -> io::Result<()> {
        for (index, listener) in self.listeners.iter().enumerate() {
            self.ready.add(listener.descriptor(), Event::Listener(index).data(), Interest::Input)?;
        }
        self.ready.add(self.wake.descriptor(), Event::Wake.data(), Interest::Edge)
    }

    /// Lets the next worker take a connection from a listener.
    pub(crate) fn arm_listener(&self, index: usize) {
        if let Some(listener) = self.listeners.get(index) {
            // Fails only when the listener was shut: then nobody is to be woken by it.
            let _ = self.ready.arm(listener.descriptor(), Event::Listener(index).data(), Interest::Input);
        }
    }

    /// Takes no more connections, in any process.
    pub(crate) fn shut_listeners(&self) {
        for listener in &self.listeners {
            listener.shut();
        }
    }

    pub(crate) fn load(&self) -> Load {
        self.board.load()
    }
}

/// A descriptor that becomes readable when it is rung.
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        // It fails only when it was rung 2^64 times and nobody came.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Stops it ringing.
    pub(crate) fn answer(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::of(&self.0)
    }
}
