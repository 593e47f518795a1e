//! What a member of the ready set stands for, in the 64 bits that the kernel gives back with an event.

/// A member of the ready set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A listener, by its place in the platform's list.
    Listener(usize),
    /// The manager wants every worker to look at the platform's stage.
    Wake,
    /// A connection: its row in the table, and the low 24 bits of its generation.
    Connection { id: u32, generation: u32 },
}

const LISTENER: u64 = 1;
const WAKE: u64 = 2;
const CONNECTION: u64 = 3;

impl Event {
    /// Bits of the generation that an event carries.
    const GENERATION: u32 = (1 << 24) - 1;

    pub(crate) fn data(self) -> u64 {
        match self {
            Self::Listener(index) => LISTENER << 56 | index as u64,
            Self::Wake => WAKE << 56,
            Self::Connection { id, generation } => {
                CONNECTION << 56 | u64::from(generation & Self::GENERATION) << 32 | u64::from(id)
            }
        }
    }

    /// `None` for 0, which is no event.
    pub(crate) fn from_data(data: u64) -> Option<Self> {
        match data >> 56 {
            LISTENER => Some(Self::Listener(data as u32 as usize)),
            WAKE => Some(Self::Wake),
            CONNECTION => {
                Some(Self::Connection { id: data as u32, generation: (data >> 32) as u32 & Self::GENERATION })
            }
            _ => None,
        }
    }

    /// Whether an event's generation is that of a row.
    pub(crate) fn same_generation(event: u32, row: u32) -> bool {
        event == row & Self::GENERATION
    }
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn round_trip() {
        for event in [
            Event::Listener(0),
            Event::Listener(1),
            Event::Wake,
            Event::Connection { id: u32::MAX, generation: 0xff_ffff },
        ] {
            assert_eq!(Event::from_data(event.data()), Some(event));
        }
        assert_eq!(Event::from_data(0), None);
        assert!(Event::same_generation(0x00_0001, 0x0100_0001));
    }
}
