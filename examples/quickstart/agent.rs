//! The agent's role: publishes the view of the installation's node in shared memory, again each time it is told to.

use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;

use ibp_shm::{Directory, Publisher, PublisherOptions};
use rustix::process::getppid;

use crate::{Result, installation};

/// Publishes for each line of standard input, and answers with the generation. At the input's end it takes the segments
/// away; and with `cleans_up` the whole installation, if the tour was killed and cannot do it.
pub fn run(home: &Path, parent: i32, cleans_up: bool) -> Result<()> {
    let directory = Directory::of_installation(home);
    let mut publisher = Publisher::open(&directory, PublisherOptions::default())?;
    for line in stdin().lock().lines() {
        line?;
        let generation = publisher.publish(&installation::view(home)?)?;
        writeln!(stdout(), "published {generation}")?;
    }
    publisher.close()?;
    let tour_lives = getppid().is_some_and(|now| now.as_raw_pid() == parent);
    if cleans_up && !tour_lives {
        // The platforms are ending: the kernel told them, too.
        fs::remove_dir_all(directory.path())?;
        fs::remove_dir_all(home)?;
    }
    Ok(())
}
