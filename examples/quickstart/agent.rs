//! The agent's role: publishes the view of the installation's node in shared memory, again each time it is told to.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;

use ibp_shm::{Directory, Publisher, PublisherOptions};

use crate::{Result, installation};

/// Publishes for each line of standard input, and answers with the generation. At the input's end it takes the segments
/// away.
pub fn run(home: &Path) -> Result<()> {
    let directory = Directory::of_installation(home);
    let mut publisher = Publisher::open(&directory, PublisherOptions::default())?;
    for line in stdin().lock().lines() {
        line?;
        let generation = publisher.publish(&installation::view(home)?)?;
        writeln!(stdout(), "published {generation}")?;
    }
    Ok(publisher.close()?)
}
