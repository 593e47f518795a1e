//! `ibas`, the server platform of an IBP installation, with test apps built in.

mod pid_file;
mod services;

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, ValueEnum};
use ibp_core::config::{Diagnostic, Home, IbasSettings, IbmaSettings, Mode, Program};
use ibp_guard::agent;
use ibp_guard::daemon::{self, Ready, Spawned};
use ibp_guard::log_files::LogFiles;
use ibp_server::{Platform, Settings, Summary};
use ibp_shm::{Directory, Reader, ShmError};

use pid_file::PidFile;

/// The server platform of an IBP installation, with the apps ibp_test_echo and ibp_test_sleep built in.
#[derive(Parser)]
#[command(
    name = "ibas",
    version,
    after_help = "\
Signals: TERM ends the platform when what runs is finished; INT too, and a second INT ends it at once.\n\
Exit status: 0 done; 1 failed, with the reason on standard error; 2 wrong usage."
)]
struct Arguments {
    /// The file of settings, in etc/ unless it has a directory.
    #[arg(short = 'f', value_name = "CONFIG", default_value = "ibas.conf")]
    config: PathBuf,
    /// What to do.
    #[arg(short = 'a', value_name = "ACTION", value_enum)]
    action: Option<Action>,
    /// Check a file of settings and exit.
    #[arg(long, value_name = "FILE", conflicts_with = "action")]
    check: Option<PathBuf>,
    /// Stay in the foreground, and log to the terminal too.
    #[arg(long)]
    no_daemon: bool,
    /// Listen here and not where the settings say.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Have so many workers and not as many as the settings say.
    #[arg(long, value_name = "COUNT")]
    workers: Option<usize>,
    /// Serve without a published configuration: every app that is built in, to everyone.
    #[arg(long = "static")]
    is_static: bool,
    /// Listen on an address that other machines reach. There are no keys yet: whoever reaches it may ask.
    #[arg(long)]
    open_to_all: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    /// Serve.
    Start,
    /// Make the directories and default files of an installation.
    Init,
}

/// What is said before a program ends with status 1.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("ibas: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let Some(file) = &arguments.check {
        let settings = load(file)?;
        usable(&settings, arguments)?;
        println!("{}: right", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    match arguments.action {
        Some(Action::Init) => init(&home()?),
        Some(Action::Start) => start(arguments),
        None => {
            Arguments::command().print_help()?;
            Ok(ExitCode::from(2))
        }
    }
}

fn home() -> Result<Home, Failure> {
    let home = Home::from_env().ok_or("neither IBP_HOME nor HOME is set: where is the installation?")?;
    Ok(Home::at(std::path::absolute(home.path())?))
}

fn init(home: &Home) -> Result<ExitCode, Failure> {
    let made = home.init(Program::Ibas)?;
    for path in &made {
        println!("made {}", path.display());
    }
    if made.is_empty() {
        println!("nothing to make: everything exists in {}", home.path().display());
    }
    Ok(ExitCode::SUCCESS)
}

fn start(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let ready = Ready::of_daemon()?;
    if ready.is_none() && !arguments.no_daemon {
        let given: Vec<OsString> = std::env::args_os().skip(1).collect();
        return match daemon::spawn(given)? {
            Spawned::Running(pid) => {
                println!("ibas: serving with process id {pid}");
                Ok(ExitCode::SUCCESS)
            }
            Spawned::Failed(status) => {
                eprintln!("ibas: not started; the reason stands above, or at the end of the log");
                Ok(ExitCode::from(daemon::exit_code(status)))
            }
        };
    }
    let home = home()?;
    let file = std::path::absolute(home.config_file(&arguments.config))?;
    let settings = load(&file)?;
    let listen = usable(&settings, arguments)?;
    let (node, directory) = installation(&home, &settings, arguments.is_static)?;
    let logs = install_logs(&home, &settings, arguments.no_daemon)?;
    let _pid_file = PidFile::create(&pid_path(&home, &file))?;
    let builder = Platform::builder().listen(listen).settings(Settings {
        workers: arguments.workers.unwrap_or(settings.pool.max_count as usize),
        ..Settings::default()
    });
    let builder = match (node, directory) {
        (Some(node), Some(directory)) => builder.node(node).directory(directory),
        _ => builder,
    };
    let is_daemon = ready.is_some();
    let announce = Announcement::prepare(ready)?;
    let address = announce.address.clone();
    let platform = services::offer(builder).on_ready(move || announce.make()).build().inspect_err(logged)?;
    address.set(Some(platform.address()));
    if is_daemon {
        // Workers are forked from here on; they would keep the terminal open.
        rustix::stdio::dup2_stderr(OpenOptions::new().write(true).open("/dev/null")?)?;
    }
    logs.begin_work();
    let summary = platform.run().inspect_err(logged)?;
    say_goodbye(&summary);
    Ok(ExitCode::SUCCESS)
}

fn load(file: &Path) -> Result<IbasSettings, Failure> {
    let loaded = IbasSettings::load(file)?;
    report(&loaded.warnings);
    Ok(loaded.value)
}

fn report(warnings: &[Diagnostic]) {
    for warning in warnings {
        eprintln!("{warning}");
    }
}

/// Where to listen, if the settings ask for nothing that this version cannot do.
fn usable(settings: &IbasSettings, arguments: &Arguments) -> Result<SocketAddr, Failure> {
    if settings.pool.mode != Mode::StaticWorkerPool {
        return Err("mpm, mode: only STATIC_WORKERPOOL is supported so far".into());
    }
    let listen = arguments.listen.unwrap_or(settings.server);
    if !listen.ip().is_loopback() && !arguments.open_to_all {
        return Err(format!(
            "{listen} can be reached from other machines, and there are no keys: listen on a loopback address, or say \
             --open-to-all if whoever reaches it may ask"
        )
        .into());
    }
    Ok(listen)
}

/// The node that this host belongs to, and where its configuration is published.
fn installation(
    home: &Home,
    settings: &IbasSettings,
    is_static: bool,
) -> Result<(Option<String>, Option<Directory>), Failure> {
    if is_static {
        return Ok((None, None));
    }
    let agent_file = home.config_file(&settings.ibma_config_filename);
    let agent_settings = IbmaSettings::load(&agent_file)?.value;
    let directory = agent::segments(home, &agent_settings);
    match Reader::attach(&directory) {
        Ok(reader) => {
            let published = reader.current().this_node().to_owned();
            if published != agent_settings.this_node.as_str() {
                let wanted = &agent_settings.this_node;
                let file = agent_file.display();
                return Err(format!("{file} says node {wanted}, the agent has published node {published}: restart the agent").into());
            }
            Ok((Some(published), Some(directory)))
        }
        Err(error @ (ShmError::NotThere { .. } | ShmError::NotPublished { .. })) => Err(format!(
            "no configuration is published for the installation {}: start its agent (ibma -a start), or serve without one \
             (--static)\n  {error}",
            home.path().display()
        )
        .into()),
        Err(error) => Err(error.into()),
    }
}

/// Starting goes to the log `main`; then the manager and its workers write to the log `monitor`.
fn install_logs(home: &Home, settings: &IbasSettings, on_terminal: bool) -> Result<LogFiles, Failure> {
    let mut log = settings.log.clone();
    log.worker = log.monitor.clone();
    let logs = LogFiles::install(home.path(), &log, on_terminal)?;
    let security = &settings.security;
    if security.sign || security.encrypt || security.compress {
        tracing::warn!(
            "sign_flag, compress_flag and encrypt_flag have no effect yet: this platform is plain"
        );
    }
    Ok(logs)
}

/// `log/NAME.pid` for the settings `NAME.conf`.
fn pid_path(home: &Home, file: &Path) -> PathBuf {
    home.log().join(file.file_stem().unwrap_or("ibas".as_ref())).with_extension("pid")
}

/// Says that the platform serves: to whoever started the daemon, or on standard output.
struct Announcement {
    address: std::rc::Rc<Cell<Option<SocketAddr>>>,
    /// The daemon's, with the standard output that its starter reads.
    daemon: Option<(Ready, OwnedFd)>,
}

impl Announcement {
    /// Takes the standard output of a daemon away from the workers that it will fork.
    fn prepare(ready: Option<Ready>) -> io::Result<Self> {
        let daemon = match ready {
            None => None,
            Some(ready) => {
                let starter = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?;
                let nothing = OpenOptions::new().write(true).open("/dev/null")?;
                rustix::stdio::dup2_stdout(&nothing)?;
                Some((ready, starter))
            }
        };
        Ok(Self { address: std::rc::Rc::default(), daemon })
    }

    fn make(self) {
        let address = self.address.get().map_or_else(String::new, |address| format!(" on {address}"));
        tracing::info!(target: "event", "started with process id {}, serving{address}", std::process::id());
        let told = match self.daemon {
            None => writeln!(io::stdout(), "ibas: serving{address}"),
            Some((ready, starter)) => {
                rustix::stdio::dup2_stdout(&starter).map_err(io::Error::from).and_then(|()| ready.tell())
            }
        };
        if let Err(error) = told {
            tracing::warn!(%error, "cannot tell whoever started this platform that it serves");
        }
    }
}

fn say_goodbye(summary: &Summary) {
    tracing::info!(
        target: "event",
        "ended: {} requests executed, {} rejected, {} aborted, {} workers died",
        summary.executed, summary.rejected, summary.aborted, summary.deaths,
    );
}

fn logged(error: &ibp_server::ServerError) {
    tracing::error!(target: "event", "{error}");
}
