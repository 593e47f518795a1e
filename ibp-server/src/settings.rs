use std::time::Duration;

use ibp_core::wire::Limits;

/// What can be set about a platform, with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Worker processes. Default 4; 1 to 4,096.
    pub workers: usize,
    /// Most connections that wait for their peer at once. `None` (the default): 8,192, or fewer where the limit of
    /// open descriptors allows no more, which is then said in the log. A number that the limit does not allow is
    /// an error.
    pub max_connections: Option<usize>,
    /// What a request may bring.
    pub limits: Limits,
    /// How long what runs may go on after TERM or INT. Default 10 s.
    pub grace: Duration,
    /// How long a peer may take to send the rest of what it has begun (its hello included), or to take an answer.
    /// Default 10 s.
    pub receive_timeout: Duration,
    /// How long a connection may stay without a request before the platform says GOODBYE; zero (the default): for
    /// ever.
    pub idle_timeout: Duration,
    /// How long an app may run when the configuration does not say. Default 75 s.
    pub app_timeout: Duration,
    /// How many outcomes of transactions are remembered. Default 65,536.
    pub outcomes: usize,
    /// For how long. Default 10 min.
    pub outcome_age: Duration,
    /// How much memory requests and answers that are on their way in pieces may take together, in bytes. Default
    /// 256 MiB.
    pub spill_quota: u64,
    /// Pending connections that the kernel keeps. Default 4,096 (the kernel may allow fewer: `somaxconn`).
    pub backlog: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 4,
            max_connections: None,
            // Attached files are not taken yet.
            limits: Limits { max_files: 0, ..Limits::default() },
            grace: Duration::from_secs(10),
            receive_timeout: Duration::from_secs(10),
            idle_timeout: Duration::ZERO,
            app_timeout: Duration::from_secs(75),
            outcomes: 65_536,
            outcome_age: Duration::from_secs(600),
            spill_quota: 256 << 20,
            backlog: 4_096,
        }
    }
}
