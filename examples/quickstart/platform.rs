//! The platform's role: serves node ECIF with two apps that write a journal.

use std::fs::OpenOptions;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ibp_server::{Platform, Request, Response, Settings};
use ibp_shm::Directory;
use rustix::process::Signal;

use crate::Result;
use crate::journal::{Event, Journal, Record};
use crate::kinds::{ECHO, SERVER_NODE, SLOW_ECHO, SLOW_MS};
use crate::process::die_with;

/// Worker processes of a platform.
pub const WORKERS: usize = 4;

/// Serves until TERM comes. Says `ready ADDRESS` when all workers serve, and in the end `deaths COUNT`.
pub fn run(home: &Path, name: &str, parent: i32) -> Result<()> {
    die_with(parent, Signal::TERM)?;
    log_to(&home.join("log").join(format!("{name}.log")))?;
    let journal = Arc::new(Journal::open(&home.join("log").join(format!("{name}.journal")))?);
    let settings = Settings {
        workers: WORKERS,
        // So many that nothing is forgotten before it is asked about.
        outcomes: 1 << 20,
        ..Settings::default()
    };
    let platform = Platform::builder()
        .directory(Directory::of_installation(home))
        .node(SERVER_NODE)
        .settings(settings)
        .service(ECHO, echo(&journal, Duration::ZERO))
        .service(SLOW_ECHO, echo(&journal, Duration::from_millis(SLOW_MS)));
    // The kernel chose the port when it is built; it serves from `run` on.
    let platform = {
        let (tell, told) = std::sync::mpsc::channel();
        let ready = move || {
            if let Ok(address) = told.recv() {
                let address: std::net::SocketAddr = address;
                let _ = writeln!(stdout(), "ready {address}");
            }
        };
        let platform = platform.on_ready(ready).build()?;
        tell.send(platform.address())?;
        platform
    };
    let summary = platform.run()?;
    writeln!(stdout(), "deaths {}", summary.deaths)?;
    Ok(())
}

/// An app that answers with the request, and notes in the journal when it begins and that it has done its work.
fn echo(journal: &Arc<Journal>, pause: Duration) -> impl Fn(&Request<'_>, &mut Response<'_>) -> i32 + use<> {
    let journal = Arc::clone(journal);
    move |request, response| {
        let note = |event| {
            journal.append(Record { transaction: request.transaction(), event, kind: 0, nanoseconds: 0 })
        };
        if let Err(error) = note(Event::Begin) {
            tracing::error!(%error, "cannot write the journal");
            return 1;
        }
        response.extend_from_slice(request.body());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        if let Err(error) = note(Event::End) {
            tracing::error!(%error, "cannot write the journal");
            return 1;
        }
        0
    }
}

/// Writes without a thread of its own: the platform forks.
fn log_to(path: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    tracing_subscriber::fmt().with_writer(Arc::new(file)).with_ansi(false).try_init()
}
