//! The configuration of a large cluster: reading, images, views, differences, and the agent; see `benches/README.md`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use ibp_benches::Result;
use ibp_benches::table::{self, Cell, Row};
use ibp_core::config::{Changes, ClusterFiles, Home, Model, ModelBuilder, Program};
use ibp_guard::agent::{Agent, AgentOptions, Command as AgentCommand, Commands};
use ibp_shm::Reader;
use serde::Serialize;

/// Measures what the configuration of a large cluster costs.
#[derive(Parser)]
struct Options {
    /// Nodes, with ten hosts each; twice as many apps, half as many projects.
    #[arg(long, default_value_t = 10_000)]
    nodes: usize,
    /// How often each figure is measured; the median counts.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Prints the figures as JSON lines instead of a table.
    #[arg(long)]
    json: bool,
    /// Reads the files in this directory and prints the growth of this process in KiB.
    #[arg(long, hide = true)]
    weigh: Option<PathBuf>,
}

/// A figure and what it should be.
#[derive(Serialize)]
struct Figure {
    figure: &'static str,
    value: f64,
    unit: &'static str,
    /// At least, or at most.
    target: Target,
    met: bool,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("config: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the benchmark; whether all targets were met.
fn run(options: &Options) -> Result<bool> {
    if let Some(directory) = &options.weigh {
        return weigh(directory);
    }
    let directory = tempfile::tempdir()?;
    let files = ClusterFiles::in_directories(directory.path(), directory.path());
    files.save(&cluster(options.nodes).build()?)?;
    let bytes = size(&files)?;
    let model = files.load_texts()?.value;
    let figures = [
        reading(options, &files, bytes)?,
        memory(directory.path(), bytes)?,
        image(options, &files, &model)?,
        one_view(options, &model)?,
        all_views(&model)?,
        difference(options, &model)?,
        agent(options)?,
    ];
    let all_met = figures.iter().all(|figure| figure.met);
    if options.json {
        for figure in &figures {
            println!("{}", serde_json::to_string(figure)?);
        }
        return Ok(all_met);
    }
    let megabytes = bytes as f64 / 1e6;
    println!("{} hosts in {} nodes, {megabytes:.1} MB of text\n", options.nodes * 10, options.nodes);
    print!(
        "{}",
        table::render(&["figure", "measured", "unit", "target"], &figures.map(|figure| figure.row()))
    );
    Ok(all_met)
}

/// A cluster in which a node takes part in some six projects.
fn cluster(nodes: usize) -> ModelBuilder {
    let mut cluster = Model::builder();
    let node_name = |at: usize| format!("NODE_{:05}", at % nodes);
    let app_name = |at: usize| format!("ibp_app_{:05}", at % (2 * nodes));
    for at in 0..nodes {
        let mut node = cluster.node(node_name(at));
        for host in 0..10 {
            node.host(&format!("10.{}.{}.{}", at / 250, at % 250, host + 1), 18_001 + host);
        }
    }
    for at in 0..2 * nodes {
        let mut app = cluster.app(app_name(at));
        app.desc("测试报文回射服务").bin(format!("ibp_package_{:04}.so", at / 10)).timeout_seconds(50);
    }
    for at in 0..nodes / 2 {
        let mut project = cluster.project(format!("project_{at:05}"));
        project.server_nodes((0..4).map(|member| node_name(2 * at + member)));
        project.client_nodes((0..8).map(|member| node_name(2 * at + 4 + 37 * member)));
        project.apps((0..16).map(|app| app_name(4 * at + app)));
    }
    cluster
}

fn size(files: &ClusterFiles) -> Result<u64> {
    let mut bytes = 0;
    for path in [&files.nodes, &files.apps, &files.projects] {
        bytes += std::fs::metadata(path)?.len();
    }
    Ok(bytes)
}

/// Text from the disk's cache to a validated model.
fn reading(options: &Options, files: &ClusterFiles, bytes: u64) -> Result<Figure> {
    let time = median(options.rounds, || Ok(black_box(files.load_texts()?)))?;
    Ok(Figure::new("reading text", bytes as f64 / 1e6 / time.as_secs_f64(), "MB/s", Target::AtLeast(100.0)))
}

/// The most that a process grows while it reads, text included.
fn memory(directory: &Path, bytes: u64) -> Result<Figure> {
    let output = Command::new(std::env::current_exe()?).arg("--weigh").arg(directory).output()?;
    let kib: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(Figure::new("memory for it", kib * 1024.0 / bytes as f64, "x text", Target::AtMost(4.0)))
}

/// In a process of its own: what reading adds to the most that it ever had.
fn weigh(directory: &Path) -> Result<bool> {
    let files = ClusterFiles::in_directories(directory, directory);
    let before = high_water_kib()?;
    black_box(files.load_texts()?);
    println!("{}", high_water_kib()?.saturating_sub(before));
    Ok(true)
}

fn high_water_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim_end_matches("kB").trim().parse()?)
}

/// Loading images, against reading the same bytes and allocating the same texts, lists and indexes.
fn image(options: &Options, files: &ClusterFiles, model: &Model) -> Result<Figure> {
    // Texts that are old enough to be told apart without reading them.
    std::thread::sleep(Duration::from_millis(3_100));
    let images = files.compile()?;
    let load = median(options.rounds, || {
        let loaded = files.load()?;
        if loaded.warnings.is_empty() { Ok(loaded) } else { Err("an image was not used".into()) }
    })?;
    let allocate = median(options.rounds, || {
        let mut bytes = Vec::new();
        for path in &images {
            bytes.push(std::fs::read(path)?);
        }
        // A copy shares the names: they come extra.
        let names =
            model.nodes().iter().map(|node| &node.name).chain(model.apps().iter().map(|app| &app.name));
        let names = names.chain(model.projects().iter().map(|project| &project.name));
        let names: Vec<Box<str>> = names.map(|name| Box::from(name.as_str())).collect();
        Ok((bytes, model.clone(), names))
    })?;
    let ratio = load.as_secs_f64() / allocate.as_secs_f64();
    Ok(Figure::new("loading images", ratio, "x read+alloc", Target::AtMost(3.0)))
}

fn one_view(options: &Options, model: &Model) -> Result<Figure> {
    let middle = &model.nodes()[model.nodes().len() / 2].name;
    let time = median(options.rounds, || Ok(black_box(model.view(middle)?)))?;
    Ok(Figure::new("view of one node", milliseconds(time), "ms", Target::AtMost(5.0)))
}

fn all_views(model: &Model) -> Result<Figure> {
    let begin = Instant::now();
    for node in model.nodes() {
        black_box(model.view(&node.name)?);
    }
    Ok(Figure::new("views of all nodes", begin.elapsed().as_secs_f64(), "s", Target::AtMost(3.0)))
}

/// Whom it touches that one host goes and one app gets more time.
fn difference(options: &Options, model: &Model) -> Result<Figure> {
    let middle = model.nodes().len() / 2;
    let mut edit = model.edit();
    if let Some(node) = edit.node_mut(&model.nodes()[middle].name) {
        node.hosts.pop();
    }
    if let Some(app) = edit.app_mut(&model.apps()[middle].name) {
        app.timeout_seconds += 1;
    }
    let changed = edit.build()?;
    let time = median(options.rounds, || {
        let changes = Changes::between(model, &changed);
        if changes.is_empty() { Err("a change touches nobody".into()) } else { Ok(changes) }
    })?;
    Ok(Figure::new("nodes touched by a change", milliseconds(time), "ms", Target::AtMost(10.0)))
}

/// From a file that is replaced to a reader that sees it.
fn agent(options: &Options) -> Result<Figure> {
    let directory = tempfile::tempdir()?;
    let home = Home::at(directory.path().join("home"));
    home.init(Program::Ibma)?;
    let settings = home.config_file("ibma.conf");
    let own = format!("\"shm_directory\" : \"{}\" , \"comm\" :", directory.path().join("shm").display());
    std::fs::write(&settings, std::fs::read_to_string(&settings)?.replacen("\"comm\" :", &own, 1))?;
    let mut agent = Agent::open(&AgentOptions::new(home.clone()))?;
    let reader = Reader::attach(agent.directory())?;
    let mut commands = Commands::new()?;
    let stop = commands.sender(AgentCommand::Stop)?;
    let thread = std::thread::spawn(move || agent.run(&mut commands, || {}).is_ok());
    let apps = home.config_file("ibp_apps.conf");
    let text = std::fs::read_to_string(&apps)?;
    let mut timeout = 100;
    let measured = median(options.rounds, || {
        timeout += 1;
        let mut seconds = String::new();
        write!(seconds, "\"timeout\" : \"{timeout}\"")?;
        let new = apps.with_extension("new");
        std::fs::write(&new, text.replacen("\"timeout\" : \"50\"", &seconds, 1))?;
        std::fs::rename(&new, &apps)?;
        let begin = Instant::now();
        while reader.current().app("ibp_test_echo").is_none_or(|app| app.timeout_ms() != timeout * 1000) {
            reader.refresh()?;
            if begin.elapsed() > Duration::from_secs(30) {
                return Err("the agent does not publish".into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    });
    stop.send();
    let _ = thread.join();
    Ok(Figure::new("agent publishes a change", milliseconds(measured?), "ms", Target::AtMost(200.0)))
}

/// The median time of a call; what it gives is dropped outside of it.
fn median<T>(rounds: usize, mut call: impl FnMut() -> Result<T>) -> Result<Duration> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds.max(1) {
        let begin = Instant::now();
        let given = call()?;
        times.push(begin.elapsed());
        drop(given);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Figure {
    fn new(figure: &'static str, value: f64, unit: &'static str, target: Target) -> Figure {
        let met = match target {
            Target::AtLeast(least) => value >= least,
            Target::AtMost(most) => value <= most,
        };
        Figure { figure, value, unit, target, met }
    }

    fn row(&self) -> Row {
        let (sign, bound) = match self.target {
            Target::AtLeast(least) => (">=", least),
            Target::AtMost(most) => ("<=", most),
        };
        let verdict = if self.met { "met" } else { "MISSED" };
        let cells = vec![
            Cell::word(self.figure),
            Cell::number(format!("{:.2}", self.value)),
            Cell::word(self.unit),
            Cell::word(&format!("{sign} {bound} {verdict}")),
        ];
        Row { cells, missed: !self.met }
    }
}
