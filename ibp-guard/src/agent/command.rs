//! What an agent can be told while it runs.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::signal::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

/// What an agent can be told while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End; what is published stays. (TERM, INT)
    Stop,
    /// Open the log files anew. (USR1)
    ReloadLog,
    /// End, and remove the segments. (USR2)
    StopAndRemove,
}

/// Where commands arrive: from signals, or from other threads through a [`Sender`].
#[derive(Debug)]
pub struct Commands {
    /// A pair of connected sockets for each command: what is written into one end wakes whoever waits at the other.
    channels: [(Command, UnixStream, UnixStream); 3],
}

/// Tells one command to an agent; from any thread.
#[derive(Debug)]
pub struct Sender(UnixStream);

impl Commands {
    /// A place for commands that no signal reaches.
    ///
    /// # Errors
    /// A failing system call.
    pub fn new() -> io::Result<Commands> {
        let channel = |command| {
            let (receiver, sender) = UnixStream::pair()?;
            receiver.set_nonblocking(true)?;
            sender.set_nonblocking(true)?;
            io::Result::Ok((command, receiver, sender))
        };
        Ok(Commands {
            channels: [
                channel(Command::Stop)?,
                channel(Command::ReloadLog)?,
                channel(Command::StopAndRemove)?,
            ],
        })
    }

    /// A place for commands that TERM and INT, USR1 and USR2 of this process reach. For programs: a library leaves the
    /// signals of its process alone.
    ///
    /// # Errors
    /// A failing system call.
    pub fn of_signals() -> io::Result<Commands> {
        let commands = Commands::new()?;
        for (signal, command) in [
            (SIGTERM, Command::Stop),
            (SIGINT, Command::Stop),
            (SIGUSR1, Command::ReloadLog),
            (SIGUSR2, Command::StopAndRemove),
        ] {
            signal_hook::low_level::pipe::register(signal, commands.sender(command)?.0)?;
        }
        Ok(commands)
    }

    /// Something that tells this command.
    ///
    /// # Errors
    /// A failing system call.
    pub fn sender(&self, command: Command) -> io::Result<Sender> {
        let [stop, reload, remove] = &self.channels;
        let (_, _, sender) = match command {
            Command::Stop => stop,
            Command::ReloadLog => reload,
            Command::StopAndRemove => remove,
        };
        Ok(Sender(sender.try_clone()?))
    }

    /// The descriptors that become readable when there is a command.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        self.channels.each_ref().map(|(_, receiver, _)| receiver.as_fd())
    }

    /// A command that was told since the last call; each kind once, however often it was told.
    pub(super) fn take(&mut self) -> Option<Command> {
        let mut bytes = [0; 64];
        self.channels.iter_mut().find_map(|(command, receiver, _)| {
            matches!(receiver.read(&mut bytes), Ok(1..)).then_some(*command)
        })
    }
}

impl Sender {
    /// Tells the command. It does not wait for the agent.
    pub fn send(&self) {
        // A full channel has the command in it already.
        let _ = (&self.0).write(&[1]);
    }
}
