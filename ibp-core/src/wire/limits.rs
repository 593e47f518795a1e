/// What one side takes from the other. Every length that a peer declares is compared with one of these before
/// anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request or response body, in bytes. Default 64 MiB.
    pub max_body: u64,
    /// Most files in one direction of one transaction. Default 16.
    pub max_files: u16,
    /// Largest file, in bytes. Default 4 GiB.
    pub max_file: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_body: 64 << 20, max_files: 16, max_file: 4 << 30 }
    }
}
