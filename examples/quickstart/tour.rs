//! The tour itself: builds the cluster, has it asked, breaks parts of it, ends it, and looks at what is left.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use ibp_core::wire::TransactionId;
use rustix::process::{Pid, Signal, kill_process};

use crate::check::{ClientEvidence, Evidence};
use crate::installation::Installation;
use crate::platform::WORKERS;
use crate::process::{Process, adopt_orphans, children};
use crate::report::Report;
use crate::watch::Watch;
use crate::{Options, Result, journal};

const PLATFORMS: usize = 2;
const CLIENTS: usize = 4;

/// How long a process may take to start, to end, or to answer. Far more than any needs, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a worker is killed, and how often the configuration is published anew.
const KILL_EVERY: Duration = Duration::from_millis(100);
const PUBLISH_EVERY: Duration = Duration::from_millis(250);

/// The running cluster. Its fields are dropped, and so its processes ended, in this order.
struct Tour<'a> {
    clients: Vec<ClientProcess>,
    platforms: Vec<Process>,
    agent: Process,
    installation: Installation,
    hosts: Vec<SocketAddr>,
    evidence: Evidence,
    random: fastrand::Rng,
    watch: &'a Watch,
    seed: u64,
    editions: u32,
    kills: u64,
    /// Clients started so far.
    started: usize,
}

struct ClientProcess {
    process: Process,
    first: TransactionId,
}

/// Takes the tour to its end.
pub fn run(options: &Options) -> Result<Report> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let limit = PATIENCE * 3 + Duration::from_secs_f64(options.seconds);
    let watch = Watch::start(limit, options.json)?;
    adopt_orphans()?;
    watch.say(format_args!("seed {seed}"));
    let mut tour = Tour::prepare(&watch, seed, options.keep)?;
    let load = tour.load(Duration::from_secs_f64(options.seconds))?;
    let deaths = tour.end()?;
    let mut findings = tour.examine()?;
    if deaths > tour.kills {
        let what = format!("{deaths} workers died, and {} were killed", tour.kills);
        findings.contradictions.push(what);
    }
    let (kills, editions) = (tour.kills, tour.editions);
    drop(tour);
    Ok(Report { seed, load, findings, kills, editions, elapsed: watch.elapsed() })
}

impl<'a> Tour<'a> {
    /// Everything up to the point where clients can come.
    fn prepare(watch: &'a Watch, seed: u64, keep: bool) -> Result<Self> {
        let mut installation = Installation::make()?;
        watch.say(format_args!("an installation in {}", installation.home().display()));
        let mut role = this_program()?;
        role.arg("agent").arg(installation.home()).arg(std::process::id().to_string());
        if keep {
            watch.say("it is kept");
            installation.keep();
            role.arg("--keep");
        }
        let agent = Process::start("the agent", &mut role)?;
        let mut tour = Tour {
            clients: Vec::new(),
            platforms: Vec::new(),
            agent,
            installation,
            hosts: Vec::new(),
            evidence: Evidence::default(),
            random: fastrand::Rng::with_seed(seed),
            watch,
            seed,
            editions: 0,
            kills: 0,
            started: 0,
        };
        let generation = tour.publish(&[])?;
        watch.say(format_args!("published generation {generation}: node ECIF, no hosts yet"));
        for number in 0..PLATFORMS {
            tour.start_platform(number)?;
        }
        let hosts = tour.hosts.clone();
        let generation = tour.publish(&hosts)?;
        watch.say(format_args!("published generation {generation}: node ECIF with hosts {hosts:?}"));
        Ok(tour)
    }

    fn start_platform(&mut self, number: usize) -> Result<()> {
        let name = format!("platform-{number}");
        let mut role = this_program()?;
        role.arg("platform").arg(self.installation.home()).arg(&name).arg(std::process::id().to_string());
        let platform = Process::start(&name, &mut role)?;
        let address = platform.expect("ready", PATIENCE, self.watch)?;
        self.watch.say(format_args!("{name} serves on {address} with {WORKERS} workers"));
        self.hosts.push(address.parse()?);
        self.platforms.push(platform);
        Ok(())
    }

    /// Writes the nodes with these hosts of ECIF, and has the agent publish them.
    fn publish(&mut self, hosts: &[SocketAddr]) -> Result<String> {
        self.editions += 1;
        self.installation.write_nodes(hosts, self.editions)?;
        self.agent.tell("publish")?;
        self.agent.expect("published", PATIENCE, self.watch)
    }

    fn start_client(&mut self) -> Result<()> {
        let number = self.started;
        self.started += 1;
        let name = format!("client-{number}");
        let mut role = this_program()?;
        role.arg("client").arg(self.installation.log(&format!("{name}.journal")));
        role.arg((self.seed.wrapping_add(1000 * number as u64 + 1)).to_string());
        role.arg(std::process::id().to_string());
        if number % 2 == 1 {
            role.arg("--tcp");
        }
        role.env("IBP_HOME", self.installation.home());
        let process = Process::start(&name, &mut role)?;
        let first = process.expect("ready", PATIENCE, self.watch)?.parse()?;
        self.clients.push(ClientProcess { process, first });
        Ok(())
    }

    /// Has the clients ask, and does what must not harm them. Returns how long they asked.
    fn load(&mut self, duration: Duration) -> Result<Duration> {
        let began = Instant::now();
        for _ in 0..CLIENTS {
            self.start_client()?;
        }
        self.watch.say(format_args!("{CLIENTS} clients ask, half of them over TCP only"));
        let (mut next_kill, mut next_publish) = (began + KILL_EVERY, began + PUBLISH_EVERY);
        let mut client_kill = Some(began + duration.mul_f64(0.4));
        let mut next_word = began + Duration::from_secs(1);
        while began.elapsed() < duration {
            self.watch.check()?;
            let now = Instant::now();
            if now >= next_kill {
                next_kill = now + KILL_EVERY;
                self.kill_a_worker();
            }
            if now >= next_publish {
                next_publish = now + PUBLISH_EVERY;
                self.publish_a_change()?;
            }
            if client_kill.is_some_and(|when| now >= when) {
                client_kill = None;
                self.kill_a_client()?;
                self.start_client()?;
            }
            if now >= next_word {
                next_word = now + Duration::from_secs(1);
                let (kills, editions) = (self.kills, self.editions);
                self.watch.say(format_args!("{kills} workers killed, {editions} configurations published"));
            }
            self.hear();
            std::thread::sleep(Duration::from_millis(5));
        }
        for client in &mut self.clients {
            client.process.end_input();
        }
        let load = began.elapsed();
        self.watch.say("the clients ask what became of failed transactions, and end");
        for client in std::mem::take(&mut self.clients) {
            self.end_client(client)?;
        }
        Ok(load)
    }

    fn kill_a_worker(&mut self) {
        let Some(platform) = self.random.choice(&self.platforms) else { return };
        let workers: Vec<Pid> = children(platform.pid()).into_iter().flat_map(children).collect();
        // None, if one is just being replaced.
        if let Some(worker) = self.random.choice(&workers)
            && kill_process(*worker, Signal::KILL).is_ok()
        {
            self.kills += 1;
        }
    }

    /// A changed setting each time; and one host leaves the node and comes back.
    fn publish_a_change(&mut self) -> Result<()> {
        let hosts = match self.editions % 4 {
            0 => self.hosts[..1].to_vec(),
            2 => self.hosts[1..].to_vec(),
            _ => self.hosts.clone(),
        };
        self.publish(&hosts).map(drop)
    }

    fn kill_a_client(&mut self) -> Result<()> {
        let number = self.random.usize(..self.clients.len());
        let mut client = self.clients.remove(number);
        client.process.kill()?;
        self.watch.say(format_args!("{} killed, another one takes its place", client.process.name()));
        self.take_evidence(&client, true)
    }

    fn end_client(&mut self, mut client: ClientProcess) -> Result<()> {
        let evidence = &mut self.evidence;
        client.process.expect_among("done", PATIENCE, self.watch, &mut |line| evidence.hear(line))?;
        client.process.wait(PATIENCE, self.watch)?;
        self.take_evidence(&client, false)
    }

    fn take_evidence(&mut self, client: &ClientProcess, was_killed: bool) -> Result<()> {
        for line in client.process.lines() {
            self.evidence.hear(&line);
        }
        let journal = self.installation.log(&format!("{}.journal", client.process.name()));
        let journal = if journal.exists() { journal::read(&journal)? } else { Vec::new() };
        self.evidence.clients.push(ClientEvidence { first: client.first, was_killed, journal });
        Ok(())
    }

    fn hear(&mut self) {
        for client in &self.clients {
            for line in client.process.lines() {
                self.evidence.hear(&line);
            }
        }
    }

    /// Ends the platforms and the agent in order. Returns how many workers died by other hands than the manager's.
    fn end(&mut self) -> Result<u64> {
        let mut deaths = 0;
        for platform in &self.platforms {
            platform.send(Signal::TERM)?;
        }
        for platform in &mut self.platforms {
            deaths += platform.expect("deaths", PATIENCE, self.watch)?.parse::<u64>()?;
            platform.wait(PATIENCE, self.watch)?;
        }
        self.agent.end_input();
        self.agent.wait(PATIENCE, self.watch)?;
        let (path, left) = self.installation.shared_memory();
        if !left.is_empty() {
            return Err(format!("left behind in {}: {}", path.display(), left.join(" ")).into());
        }
        self.watch.say("platforms and agent have ended, and left nothing in shared memory");
        Ok(deaths)
    }

    fn examine(&mut self) -> Result<crate::check::Findings> {
        for number in 0..PLATFORMS {
            let journal = self.installation.log(&format!("platform-{number}.journal"));
            self.evidence.apps.push(journal::read(&journal)?);
        }
        self.evidence.examine()
    }
}

impl Evidence {
    fn hear(&mut self, line: &str) {
        let Some((id, text)) = line.strip_prefix("note ").and_then(|rest| rest.split_once(' ')) else {
            return;
        };
        if let Ok(id) = id.parse() {
            self.notes.entry(id).or_insert_with(|| text.to_owned());
        }
    }
}

fn this_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}
