//! A platform in a process of its own, and what its services do.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ibp_server::{Platform, Request, Response, Service, Settings};

/// What a test wants of a platform; travels as the argument of `--serve`.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) workers: usize,
    pub(crate) listen: SocketAddr,
    pub(crate) unix: Option<PathBuf>,
    pub(crate) grace_ms: u64,
    pub(crate) receive_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) app_ms: u64,
    pub(crate) connections: usize,
    /// A file: while it exists, workers die at their start.
    pub(crate) die_at_start: Option<PathBuf>,
    /// A container that does not let processes fetch one another's descriptors.
    pub(crate) deny_fetching: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            workers: 4,
            listen: ([127, 0, 0, 1], 0).into(),
            unix: None,
            grace_ms: 5_000,
            receive_ms: 10_000,
            idle_ms: 0,
            app_ms: 75_000,
            connections: 4_096,
            die_at_start: None,
            deny_fetching: false,
        }
    }
}

impl Wanted {
    fn to_text(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map_or(String::new(), |p| p.display().to_string());
        format!(
            "{},{},{},{},{},{},{},{},{},{}",
            self.workers,
            self.listen,
            path(&self.unix),
            self.grace_ms,
            self.receive_ms,
            self.idle_ms,
            self.app_ms,
            self.connections,
            path(&self.die_at_start),
            self.deny_fetching
        )
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut fields = text.split(',');
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        Some(Self {
            workers: fields.next()?.parse().ok()?,
            listen: fields.next()?.parse().ok()?,
            unix: path(fields.next()?),
            grace_ms: fields.next()?.parse().ok()?,
            receive_ms: fields.next()?.parse().ok()?,
            idle_ms: fields.next()?.parse().ok()?,
            app_ms: fields.next()?.parse().ok()?,
            connections: fields.next()?.parse().ok()?,
            die_at_start: path(fields.next()?),
            deny_fetching: fields.next()?.parse().ok()?,
        })
    }
}

/// Plays the platform.
pub(crate) fn serve(wanted: &str) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("IBP_LOG").unwrap_or_else(|_| "error".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let Some(wanted) = Wanted::from_text(wanted) else { return ExitCode::from(2) };
    if wanted.deny_fetching {
        deny(libc::SYS_pidfd_getfd);
    }
    let settings = Settings {
        workers: wanted.workers,
        grace: Duration::from_millis(wanted.grace_ms),
        receive_timeout: Duration::from_millis(wanted.receive_ms),
        idle_timeout: Duration::from_millis(wanted.idle_ms),
        app_timeout: Duration::from_millis(wanted.app_ms),
        max_connections: Some(wanted.connections),
        ..Settings::default()
    };
    let mut builder = Platform::builder().listen(wanted.listen).node("TEST").settings(settings);
    if let Some(path) = wanted.unix {
        builder = builder.unix_socket(path);
    }
    let platform = builder
        .service("echo", |request: &Request<'_>, response: &mut Response<'_>| {
            response.extend_from_slice(request.body());
            i32::try_from(request.body().len()).unwrap_or(i32::MAX)
        })
        .service("pid", |_: &Request<'_>, response: &mut Response<'_>| {
            response.extend_from_slice(std::process::id().to_string().as_bytes());
            0
        })
        .service("sleep", |request: &Request<'_>, _: &mut Response<'_>| {
            std::thread::sleep(Duration::from_millis(number(request)));
            0
        })
        .service("kill", |_: &Request<'_>, _: &mut Response<'_>| {
            let me = rustix::process::getpid();
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
            0
        })
        .service("panic", |_: &Request<'_>, response: &mut Response<'_>| {
            response.extend_from_slice(b"half an answer");
            std::panic::resume_unwind(Box::new("on purpose"))
        })
        .service("big", |request: &Request<'_>, response: &mut Response<'_>| {
            let pattern: Vec<u8> = (0..=250).collect();
            let mut left = number(request) as usize;
            while left > 0 {
                let length = left.min(pattern.len());
                response.extend_from_slice(&pattern[..length]);
                left -= length;
            }
            0
        })
        .service("leak", |request: &Request<'_>, response: &mut Response<'_>| {
            let mut opened = 0;
            for _ in 0..number(request) {
                match std::fs::File::open("/dev/null") {
                    Ok(file) => {
                        std::mem::forget(file);
                        opened += 1;
                    }
                    Err(_) => break,
                }
            }
            response.extend_from_slice(opened.to_string().as_bytes());
            0
        })
        .service("open", |_: &Request<'_>, response: &mut Response<'_>| {
            let count = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
            response.extend_from_slice(count.to_string().as_bytes());
            0
        })
        .service("start", Starting(wanted.die_at_start))
        .on_ready(|| {
            let mut out = std::io::stdout();
            let _ = writeln!(out, "ready");
            let _ = out.flush();
        })
        .build();
    let platform = match platform {
        Ok(platform) => platform,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", platform.address());
    match platform.run() {
        Ok(summary) => {
            println!("{summary:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Has the kernel answer EPERM to a system call, as the filter of a container does.
fn deny(call: libc::c_long) {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program is complete and lives through the call; the filter concerns this process and its children.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn number(request: &Request<'_>) -> u64 {
    std::str::from_utf8(request.body()).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

struct Starting(Option<PathBuf>);

impl Service for Starting {
    fn call(&self, _: &Request<'_>, _: &mut Response<'_>) -> i32 {
        0
    }

    fn start(&self) {
        if self.0.as_ref().is_some_and(|path| path.exists()) {
            std::process::exit(9);
        }
    }
}

/// A running platform; killed with all its processes when it is dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    output: BufReader<std::process::ChildStdout>,
}

impl Served {
    /// Starts one and waits until its workers serve.
    pub(crate) fn start(wanted: &Wanted) -> Self {
        let mut served = Self::start_unready(wanted);
        assert_eq!(served.line(), "ready");
        served
    }

    pub(crate) fn start_unready(wanted: &Wanted) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--serve", &wanted.to_text()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("the platform said {line:?}"));
        Self { child, address, output }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// All processes of the platform: (manager, keepers, workers).
    pub(crate) fn processes(&self) -> (i32, Vec<i32>, Vec<i32>) {
        let manager = self.child.id() as i32;
        let keepers = children(manager);
        let workers = keepers.iter().flat_map(|keeper| children(*keeper)).collect();
        (manager, keepers, workers)
    }

    /// Waits until no worker has a connection in hand.
    pub(crate) fn rest(&self) {
        until(Duration::from_secs(10), "all workers to wait", || {
            let (_, _, workers) = self.processes();
            let waits = |pid: &i32| {
                let place = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
                place.contains("epoll")
            };
            workers.iter().all(waits).then_some(())
        });
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child, Duration::from_secs(30));
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut rest).unwrap();
        (status, rest)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let (manager, keepers, workers) = self.processes();
        for pid in std::iter::once(manager).chain(keepers).chain(workers) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

pub(crate) fn children(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "pid (name) state ...": a zombie is not alive.
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| state != 'Z')
}

fn wait(child: &mut Child, longest: Duration) -> ExitStatus {
    until(longest, "the platform to end", || child.try_wait().unwrap())
}

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(longest: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + longest;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {longest:?} for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How an exit status reads.
pub(crate) fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => format!("exit {}", status.code().unwrap_or(-1)),
    }
}
