//! `ibpsend`: sends one transaction by hand, or asks what became of one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser, error::ErrorKind};
use ibp_client::{Client, Error, State};
use ibp_core::wire::{Execution, Outcome, TransactionId};
use serde_json::{Value, json};

/// Sends one transaction by hand and prints the answer's body; what else is known of it goes to standard error.
#[derive(Parser)]
#[command(
    name = "ibpsend",
    version,
    after_help = "\
Exit status: 0 executed, with code 0; 1 executed, with another code; 2 wrong usage, nothing was sent; 3 not sent: nothing was \
executed; 4 suspicious: it may have been executed.\n\
With --outcome: 0 and 1 as above; 3 it was rejected; 4 it was aborted, it still runs, it is not known, or nobody answered."
)]
struct Arguments {
    /// The node to ask.
    node: String,
    /// The app to ask for.
    #[arg(required_unless_present = "outcome")]
    app: Option<String>,
    /// The file with the request's body; `-` is standard input.
    #[arg(required_unless_present = "outcome")]
    request_file: Option<PathBuf>,
    /// Files to attach. Not supported yet.
    #[arg(num_args = 0..=4, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Asks this host. No installation is needed then.
    #[arg(long, value_name = "IP:PORT")]
    host: Option<SocketAddr>,
    /// How long it may take, in seconds. Default: the app's timeout, 50 s without an installation.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Asks what became of this transaction instead of sending one: at the host, or at all hosts of the node.
    #[arg(long, value_name = "TRANSACTION", conflicts_with_all = ["app", "request_file", "files", "output", "timeout"])]
    outcome: Option<TransactionId>,
    /// Writes the answer's body to this file.
    #[arg(short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints everything as one JSON object; a body that is not UTF-8 as hexadecimal digits.
    #[arg(long)]
    json: bool,
    /// The agent's settings of the installation that IBP_HOME (or HOME) names, in its etc/.
    #[arg(short = 'f', value_name = "CONFIG", default_value = "ibma.conf")]
    config: PathBuf,
}

/// Why nothing was sent: the exit status, and what is said.
struct Failure(u8, String);

const USAGE: u8 = 2;
const NOT_SENT: u8 = 3;
const SUSPICIOUS: u8 = 4;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.outcome {
        Some(id) => ask(&arguments, id),
        None => send(&arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failure(code, text)) => {
            eprintln!("ibpsend: {text}");
            ExitCode::from(code)
        }
    }
}

fn send(arguments: &Arguments) -> Result<u8, Failure> {
    let (Some(app), Some(file)) = (&arguments.app, &arguments.request_file) else {
        Arguments::command()
            .error(ErrorKind::MissingRequiredArgument, "APP and REQUEST_FILE are needed")
            .exit();
    };
    if !arguments.files.is_empty() {
        return Err(Failure(USAGE, "attached files are not supported yet".to_owned()));
    }
    let body =
        read(file).map_err(|error| Failure(USAGE, format!("cannot read {}: {error}", file.display())))?;
    // Before anything is sent: an answer that cannot be kept should not be asked for.
    let output = arguments.output.as_deref().map(create).transpose()?;
    let client = client(arguments)?;
    let mut request = client.request(&arguments.node, app).body(&body);
    if let Some(host) = arguments.host {
        request = request.host(host);
    }
    if let Some(timeout) = arguments.timeout {
        request = request.timeout(timeout);
    }
    let began = Instant::now();
    let answer = request.send();
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    match answer {
        Ok(response) => {
            let load = response.load();
            let facts = [
                ("state", json!(State::Responded.name())),
                ("execution", json!(Execution::Executed(response.code()).to_string())),
                ("code", json!(response.code())),
                ("host", json!(response.host().map(|host| host.to_string()))),
                ("load", json!(format!("{} of {} workers busy", load.busy, load.workers))),
                ("milliseconds", json!(milliseconds)),
                ("transaction", json!(response.transaction().to_string())),
                ("bytes", json!(response.body().len())),
            ];
            print(&facts, arguments.json, output.is_none().then_some(response.body()));
            let written = match output {
                Some(mut output) => output.write_all(response.body()),
                None if arguments.json => Ok(()),
                None => io::stdout().lock().write_all(response.body()),
            };
            let code = u8::from(!response.is_success());
            // The transaction is what it is, whether its answer can be kept or not.
            written.map_err(|error| {
                Failure(1.max(code), format!("executed, but cannot write the answer: {error}"))
            })?;
            Ok(code)
        }
        Err(error) => {
            let facts = [
                ("state", json!(error.state().name())),
                ("phase", json!(error.phase().map(|phase| phase.name()))),
                ("host", json!(error.host().map(|host| host.to_string()))),
                ("milliseconds", json!(milliseconds)),
                ("transaction", json!(error.transaction().map(|id| id.to_string()))),
                ("error", json!(error.to_string())),
                ("number", json!(error.number())),
            ];
            print(&facts, arguments.json, None);
            Ok(status_of(&error))
        }
    }
}

fn ask(arguments: &Arguments, id: TransactionId) -> Result<u8, Failure> {
    let client = client(arguments)?;
    let hosts: Vec<SocketAddr> = match (arguments.host, client.reader().current().node(&arguments.node)) {
        (Some(host), _) => vec![host],
        (None, Some(node)) => node.hosts().map(|host| host.addr()).filter(|host| host.port() != 0).collect(),
        (None, None) => {
            return Err(Failure(USAGE, format!("the configuration has no node {:?}", arguments.node)));
        }
    };
    let mut status = SUSPICIOUS;
    for host in hosts {
        let (text, status_here, began_ago) = match client.ask_outcome(&arguments.node, host, id) {
            Ok(report) => {
                let known = report.outcome != Outcome::Unknown;
                let began_ago = known.then_some(report.began_ago.as_secs_f64() * 1e3);
                (report.outcome.to_string(), status_of_outcome(report.outcome), began_ago)
            }
            Err(error) => (error.to_string(), SUSPICIOUS, None),
        };
        let facts = [
            ("host", json!(host.to_string())),
            ("transaction", json!(id.to_string())),
            ("outcome", json!(text)),
            ("began_ago_ms", json!(began_ago)),
        ];
        print(&facts, arguments.json, None);
        // One host of the node has it; the others know nothing of it.
        if status_here != SUSPICIOUS {
            status = status_here;
        }
    }
    Ok(status)
}

fn client(arguments: &Arguments) -> Result<Client, Failure> {
    let client = match arguments.host {
        Some(host) => Client::builder().node(&arguments.node, [host]).this_node("CORE").build(),
        None => Client::open(&arguments.config),
    };
    client.map_err(|error| match error {
        // What the command line says is no name.
        Error::Settings(problems) => Failure(USAGE, problems.join("; ")),
        error @ Error::Attach(_) => {
            Failure(NOT_SENT, format!("{error} (ibma -a start), or name a host (--host IP:PORT)"))
        }
        error => Failure(NOT_SENT, format!("{error}; without an installation, name a host (--host IP:PORT)")),
    })
}

fn status_of(error: &Error) -> u8 {
    match error.state() {
        State::NotSent => NOT_SENT,
        State::Suspicious => SUSPICIOUS,
        State::Responded => 1,
    }
}

fn status_of_outcome(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Ended(Execution::Executed(0)) => 0,
        Outcome::Ended(Execution::Executed(_)) => 1,
        Outcome::Ended(Execution::Rejected(_)) => NOT_SENT,
        Outcome::Ended(Execution::Aborted(_)) | Outcome::Running | Outcome::Unknown => SUSPICIOUS,
    }
}

/// For people on standard error, one fact a line; or all of it, with the body, as JSON on standard output.
fn print(facts: &[(&str, Value)], as_json: bool, body: Option<&[u8]>) {
    // Whoever read it may be gone.
    let _ = if as_json {
        let mut object: serde_json::Map<_, _> =
            facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        if let Some(body) = body {
            let (name, text) = match str::from_utf8(body) {
                Ok(text) => ("body", text.to_owned()),
                Err(_) => ("body_hex", body.iter().map(|byte| format!("{byte:02x}")).collect()),
            };
            object.insert(name.to_owned(), text.into());
        }
        writeln!(io::stdout(), "{:#}", Value::Object(object))
    } else {
        let lines = facts.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) if number.is_f64() => {
                    format!("{:.3}", number.as_f64().unwrap_or_default())
                }
                other => other.to_string(),
            };
            format!("{:<13} {value}\n", format!("{}:", name.replace('_', " ")))
        });
        io::stderr().write_all(lines.collect::<String>().as_bytes())
    };
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file);
    }
    let mut body = Vec::new();
    io::stdin().lock().read_to_end(&mut body)?;
    Ok(body)
}

fn create(file: &Path) -> Result<File, Failure> {
    File::create(file).map_err(|error| Failure(USAGE, format!("cannot write {}: {error}", file.display())))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected, like 2.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && seconds <= 86_400.0 => Ok(duration),
        _ => Err("0.001 to 86400 seconds are allowed".to_owned()),
    }
}
