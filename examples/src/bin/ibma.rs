//! `ibma`, the agent of a host: publishes in shared memory what this host's node may see of the cluster.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, ValueEnum};
use ibp_core::config::{Diagnostic, Home, IbmaSettings, Program};
use ibp_guard::agent::{self, Agent, AgentError, AgentOptions, Commands, Stopped};
use ibp_guard::daemon::{self, PidFile, Ready, Spawned};
use ibp_guard::log_files::LogFiles;
use ibp_shm::Reader;
use serde::Serialize;

/// The agent of an IBP installation: publishes what this host's node may see of the cluster in shared memory.
#[derive(Parser)]
#[command(
    name = "ibma",
    version,
    after_help = "\
Signals: TERM ends the agent and leaves what is published; USR1 opens the log files anew; USR2 ends the agent and \
removes the segments.\n\
Exit status: 0 done; 1 failed, with the reason on standard error; 2 wrong usage."
)]
struct Arguments {
    /// The file of settings, in etc/ unless it has a directory.
    #[arg(short = 'f', value_name = "CONFIG", default_value = "ibma.conf")]
    config: PathBuf,
    /// What to do.
    #[arg(short = 'a', value_name = "ACTION", value_enum)]
    action: Option<Action>,
    /// What to show of that which is published.
    #[arg(short = 's', value_name = "WHAT", value_enum, conflicts_with = "action")]
    show: Option<Show>,
    /// Check a file of settings, and the files of the cluster that it names, and exit.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["action", "show"])]
    check: Option<PathBuf>,
    /// Show as JSON.
    #[arg(long)]
    json: bool,
    /// Stay in the foreground, and log to the terminal too.
    #[arg(long)]
    no_daemon: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Action {
    /// Publish, and follow changes of the configuration.
    Start,
    /// The same, but remove all segments first: loads and retry times of hosts go too.
    StartCleanly,
    /// Make the directories and default files of an installation.
    Init,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Show {
    /// This host's node, and the state of the agent.
    ThisNode,
    /// The nodes it sees, with hosts and loads.
    Nodes,
    /// The apps it sees.
    Apps,
    /// Its kv settings.
    NodesKv,
    /// Whether the published segment is whole: checksum, every offset, every text.
    Verify,
    /// Which process uses which generation.
    Attached,
}

/// What is said before a program ends with status 1.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("ibma: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let Some(file) = &arguments.check {
        return check(&home()?, file);
    }
    match (arguments.action, arguments.show) {
        (Some(Action::Init), _) => init(&home()?),
        (Some(action), _) => start(arguments, action),
        (None, Some(show)) => self::show(arguments, show),
        (None, None) => {
            Arguments::command().print_help()?;
            Ok(ExitCode::from(2))
        }
    }
}

fn home() -> Result<Home, Failure> {
    let home = Home::from_env().ok_or("neither IBP_HOME nor HOME is set: where is the installation?")?;
    Ok(Home::at(std::path::absolute(home.path())?))
}

fn settings_file(home: &Home, name: &Path) -> io::Result<PathBuf> {
    std::path::absolute(home.config_file(name))
}

fn init(home: &Home) -> Result<ExitCode, Failure> {
    let made = home.init(Program::Ibma)?;
    for path in &made {
        println!("made {}", path.display());
    }
    if made.is_empty() {
        println!("nothing to make: everything exists in {}", home.path().display());
    }
    Ok(ExitCode::SUCCESS)
}

fn check(home: &Home, file: &Path) -> Result<ExitCode, Failure> {
    let loaded = IbmaSettings::load(file)?;
    report(&loaded.warnings);
    if let Some(names) = &loaded.value.config {
        let cluster = names.resolve(&home.etc(), &home.keys()).load()?;
        report(&cluster.warnings);
        cluster.value.view(&loaded.value.this_node)?;
    }
    println!("{}: right", file.display());
    Ok(ExitCode::SUCCESS)
}

fn report(warnings: &[Diagnostic]) {
    for warning in warnings {
        eprintln!("{warning}");
    }
}

fn start(arguments: &Arguments, action: Action) -> Result<ExitCode, Failure> {
    let ready = Ready::of_daemon()?;
    if ready.is_none() && !arguments.no_daemon {
        let given: Vec<OsString> = env::args_os().skip(1).collect();
        return match daemon::spawn(given)? {
            Spawned::Running(pid) => {
                println!("ibma: published, running with process id {pid}");
                Ok(ExitCode::SUCCESS)
            }
            Spawned::Failed(status) => Ok(ExitCode::from(daemon::exit_code(status))),
        };
    }
    let home = home()?;
    let settings_file = settings_file(&home, &arguments.config)?;
    let settings = IbmaSettings::load(&settings_file)?.value;
    let logs = LogFiles::install(home.path(), &settings.log, arguments.no_daemon)?;
    let pid_file = PidFile::create(&pid_path(&home, &settings_file))?;
    let options = AgentOptions {
        home: home.clone(),
        settings_file: settings_file.clone(),
        clean: action == Action::StartCleanly,
    };
    // Before anything is published, so that no signal ends the agent half-way.
    let mut commands = Commands::of_signals()?;
    let mut agent = Agent::open(&options).inspect_err(logged)?;
    tracing::info!(target: "event", "started with process id {}", std::process::id());
    if let Some(ready) = ready {
        ready.tell()?;
    }
    logs.begin_work();
    let stopped =
        agent.run(&mut commands, || reload_log(&logs, &home, &settings_file)).inspect_err(logged)?;
    match stopped {
        Stopped::Kept => tracing::info!(target: "event", "ended; what is published stays"),
        Stopped::Remove => {
            agent.close().inspect_err(logged)?;
            tracing::info!(target: "event", "ended; the segments are removed");
        }
    }
    drop(pid_file);
    Ok(ExitCode::SUCCESS)
}

fn logged(error: &AgentError) {
    tracing::error!(target: "event", "{error}");
}

/// `log/NAME.pid` for the settings `NAME.conf`.
fn pid_path(home: &Home, settings_file: &Path) -> PathBuf {
    let name = settings_file.file_stem().unwrap_or("ibma".as_ref());
    home.log().join(name).with_extension("pid")
}

fn reload_log(logs: &LogFiles, home: &Home, settings_file: &Path) {
    let reloaded = match IbmaSettings::load(settings_file) {
        Ok(loaded) => logs.reload(home.path(), &loaded.value.log).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match reloaded {
        Ok(()) => tracing::info!(target: "event", "the log files were opened anew"),
        Err(error) => tracing::error!(target: "event", "the log files stay as they are: {error}"),
    }
}

fn show(arguments: &Arguments, show: Show) -> Result<ExitCode, Failure> {
    let home = home()?;
    let settings = IbmaSettings::load(&settings_file(&home, &arguments.config)?)?.value;
    let directory = agent::segments(&home, &settings);
    let json = arguments.json;
    if let Show::Attached = show {
        let attached = agent::attached(&directory);
        let row = |process: &agent::Attached| {
            let state = if process.outdated { "outdated" } else { "current" };
            vec![
                process.pid.to_string(),
                process.program.clone(),
                process.generation.to_string(),
                state.to_owned(),
            ]
        };
        return print(json, &attached, &["PID", "PROGRAM", "GENERATION", "STATE"], attached.iter().map(row));
    }
    let reader = Reader::attach(&directory)?;
    let config = reader.current();
    match show {
        Show::ThisNode => {
            let this = agent::this_node(&config, reader.publisher());
            let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            let rows = [
                ("node", this.node.clone()),
                ("generation", this.generation.to_string()),
                ("nodes", this.nodes.to_string()),
                ("apps", this.apps.to_string()),
                ("kv", this.kv.to_string()),
                ("connecting timeout ms", this.connecting_timeout_ms.to_string()),
                ("retry connect ms", this.retry_connect_ms.to_string()),
                ("min compress size", this.min_compress_size.to_string()),
                ("registry", or_none(this.registry.clone())),
                ("agent pid", or_none(this.agent_pid.map(|pid| pid.to_string()))),
                ("heartbeat age ms", or_none(this.heartbeat_age_ms.map(|age| age.to_string()))),
            ];
            print(json, &this, &[], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]))
        }
        Show::Nodes => {
            let nodes = agent::nodes(&config);
            let header = ["NODE", "KEY", "HOST", "STATE", "LOAD", "AGE"];
            print(json, &nodes, &header, nodes.iter().flat_map(node_rows))
        }
        Show::Apps => {
            let apps = agent::apps(&config);
            let header = ["APP", "BIN", "TIMEOUT", "TIMEOUT2", "STATE", "NODE", "DESCRIPTION"];
            let row = |app: &agent::AppRow| {
                let seconds = |ms: u32| format!("{}s", f64::from(ms) / 1000.0);
                let state = if app.invalid { "invalid" } else { "valid" };
                vec![
                    app.app.clone(),
                    or_dash(&app.bin),
                    seconds(app.timeout_ms),
                    seconds(app.timeout2_ms),
                    state.to_owned(),
                    or_dash(&app.server_node),
                    app.desc.clone(),
                ]
            };
            print(json, &apps, &header, apps.iter().map(row))
        }
        Show::NodesKv => {
            let kv = agent::kv(&config);
            print(json, &kv, &["KEY", "VALUE"], kv.iter().map(|kv| vec![kv.key.clone(), kv.value.clone()]))
        }
        Show::Verify | Show::Attached => {
            config.verify()?;
            let generation = config.generation();
            print(
                json,
                &Verified { generation, whole: true },
                &[],
                [vec![format!("generation {generation} is whole")]],
            )
        }
    }
}

#[derive(Serialize)]
struct Verified {
    generation: u64,
    whole: bool,
}

/// A row for each host of a node; one for a node without hosts.
fn node_rows(node: &agent::NodeRow) -> Vec<Vec<String>> {
    let first = |at: usize, text: String| if at == 0 { text } else { String::new() };
    let name = if node.invalid { format!("{} (invalid)", node.node) } else { node.node.clone() };
    let key = or_dash(node.key_id.as_deref().unwrap_or_default());
    if node.hosts.is_empty() {
        return vec![vec![name, key, "-".to_owned()]];
    }
    let row = |(at, host): (usize, &agent::HostRow)| {
        let state = if host.invalid { "invalid" } else { host.state };
        let load = host
            .load_permille
            .map_or_else(|| "-".to_owned(), |load| format!("{:.1}%", f64::from(load) / 10.0));
        let age =
            host.load_age_ms.map_or_else(|| "-".to_owned(), |age| format!("{:.1}s", age as f64 / 1000.0));
        vec![first(at, name.clone()), first(at, key.clone()), host.addr.clone(), state.to_owned(), load, age]
    };
    node.hosts.iter().enumerate().map(row).collect()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Prints rows in aligned columns, or the data as JSON.
fn print(
    json: bool,
    data: &impl Serialize,
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<ExitCode, Failure> {
    if json {
        println!("{}", serde_json::to_string_pretty(data)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table: Vec<Vec<String>> = Vec::new();
    if !header.is_empty() {
        table.push(header.iter().map(|name| (*name).to_owned()).collect());
    }
    table.extend(rows);
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in &table {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
