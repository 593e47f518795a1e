use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ibp_core::config::{Access, IbmaSettings, View, ViewApp, ViewHost, ViewNode};
use ibp_core::wire::Limits;
use ibp_shm::{Directory, Reader};

use crate::client::installation_home;
use crate::transport::Trust;
use crate::{Balancer, Client, Error, TwoChoices, names};

/// How long a call may take if neither the caller nor the configuration says it.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(50);

/// The settings of a [`Client`].
///
/// Without an installation the nodes and apps are given here, and [`ClientBuilder::build`] makes the client; with one,
/// [`ClientBuilder::open`] or [`ClientBuilder::attach`].
///
/// ```
/// # fn main() -> Result<(), ibp_client::Error> {
/// use std::time::Duration;
///
/// let client = ibp_client::Client::builder()
///     .this_node("CORE")
///     .node("ECIF", ["10.0.0.1:18001".parse().unwrap(), "10.0.0.2:18001".parse().unwrap()])
///     .app("ECIF_CUSTOMER_QUERY", Duration::from_secs(5))
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ClientBuilder {
    view: View,
    connecting_timeout: Option<Duration>,
    retry_connect: Option<Duration>,
    unknown_app_timeout: Duration,
    unix: Unix,
    settings: Settings,
}

#[derive(Debug)]
enum Unix {
    /// In the installation's directory, if there is an installation.
    OfInstallation,
    In(PathBuf),
    Never,
}

/// What a client does not take from the configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) balancer: Box<dyn Balancer>,
    pub(crate) report_expiry: Duration,
    pub(crate) limits: Limits,
    /// Where Unix sockets of this machine's platforms are looked for.
    pub(crate) unix: Option<Trust>,
    /// The timeout of an app that the configuration does not have; without one such an app is an error.
    pub(crate) unknown_app_timeout: Option<Duration>,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        let view = View {
            this_node: "CLIENT".to_owned(),
            connecting_timeout_ms: 10_000,
            retry_connect_ms: 60_000,
            min_compress_size: u32::MAX,
            registry: None,
            access: Access::Open,
            nodes: Vec::new(),
            apps: Vec::new(),
            projects: Vec::new(),
            kv: Vec::new(),
        };
        let settings = Settings {
            balancer: Box::new(TwoChoices),
            report_expiry: Duration::from_secs(5),
            limits: Limits::default(),
            unix: None,
            unknown_app_timeout: None,
        };
        Self {
            view,
            connecting_timeout: None,
            retry_connect: None,
            unknown_app_timeout: DEFAULT_TIMEOUT,
            unix: Unix::OfInstallation,
            settings,
        }
    }

    /// Without an installation: a node that can be asked, and its hosts.
    #[must_use]
    pub fn node(mut self, name: &str, hosts: impl IntoIterator<Item = SocketAddr>) -> Self {
        let hosts = hosts.into_iter().map(|addr| ViewHost { addr, invalid: false }).collect();
        self.view.nodes.push(ViewNode { name: name.to_owned(), invalid: false, hosts, key: None });
        self
    }

    /// Without an installation: an app, and how long a call of it may take.
    #[must_use]
    pub fn app(self, name: &str, timeout: Duration) -> Self {
        self.app_of_node(name, timeout, "")
    }

    /// Without an installation: an app with the node that serves it by default ([`Client::request_app`]).
    #[must_use]
    pub fn app_of_node(mut self, name: &str, timeout: Duration, node: &str) -> Self {
        let timeout_ms = milliseconds(timeout);
        self.view.apps.push(ViewApp {
            name: name.to_owned(),
            desc: String::new(),
            bin: String::new(),
            timeout_ms,
            timeout2_ms: timeout_ms.saturating_add(timeout_ms / 2),
            invalid: false,
            server_node: node.to_owned(),
        });
        self
    }

    /// Without an installation: what this client calls itself. `CLIENT` by default.
    #[must_use]
    pub fn this_node(mut self, name: &str) -> Self {
        self.view.this_node = name.to_owned();
        self
    }

    /// Without an installation: the timeout of an app that [`ClientBuilder::app`] does not name. 50 s by default.
    #[must_use]
    pub fn default_timeout(mut self, timeout: Duration) -> Self {
        self.unknown_app_timeout = timeout;
        self
    }

    /// Without an installation: how long connecting to one host may take. 10 s by default.
    #[must_use]
    pub fn connecting_timeout(mut self, timeout: Duration) -> Self {
        self.connecting_timeout = Some(timeout);
        self
    }

    /// Without an installation: how long a host rests that could not be reached. 60 s by default.
    #[must_use]
    pub fn retry_connect_timeval(mut self, rest: Duration) -> Self {
        self.retry_connect = Some(rest);
        self
    }

    /// Without an installation: takes nodes, apps and settings from a view, in place of those given before.
    #[must_use]
    pub fn view(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// How hosts are chosen. [`TwoChoices`] by default.
    #[must_use]
    pub fn balancer(mut self, balancer: impl Balancer + 'static) -> Self {
        self.settings.balancer = Box::new(balancer);
        self
    }

    /// How old a host's report of its load may be before it says nothing any more. 5 s by default.
    #[must_use]
    pub fn report_expiry(mut self, expiry: Duration) -> Self {
        self.settings.report_expiry = expiry;
        self
    }

    /// What is taken from a platform: a longer response is an error before it gets memory.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Where to look for the Unix sockets of platforms on this machine. By default in the installation's directory;
    /// without an installation nowhere.
    #[must_use]
    pub fn unix_sockets_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.unix = Unix::In(directory.into());
        self
    }

    /// Uses TCP even for a platform on this machine.
    #[must_use]
    pub fn tcp_only(mut self) -> Self {
        self.unix = Unix::Never;
        self
    }

    /// A client without an installation.
    ///
    /// # Errors
    /// [`Error::Settings`] with all problems.
    pub fn build(mut self) -> Result<Client, Error> {
        if let Some(timeout) = self.connecting_timeout {
            self.view.connecting_timeout_ms = milliseconds(timeout);
        }
        if let Some(rest) = self.retry_connect {
            self.view.retry_connect_ms = milliseconds(rest);
        }
        let problems = problems(&self.view);
        if !problems.is_empty() {
            return Err(Error::Settings(problems));
        }
        let reader = Reader::from_view(&self.view)?;
        self.settings.unknown_app_timeout = Some(self.unknown_app_timeout);
        self.settings.unix = match self.unix {
            Unix::In(directory) => Some(Trust::new(directory)),
            Unix::OfInstallation | Unix::Never => None,
        };
        Client::new(reader, self.settings)
    }

    /// A client of an installation: see [`Client::open`].
    ///
    /// # Errors
    /// As [`Client::open`]; [`Error::Settings`] if settings were given that an installation has itself.
    pub fn open(self, config: impl AsRef<Path>) -> Result<Client, Error> {
        let home = installation_home()?;
        let path = home.join("etc").join(config);
        let settings =
            IbmaSettings::load(&path).map_err(|error| Error::Installation(error.to_string()))?.value;
        let directory = Directory::configured(&home, settings.shm_directory.as_deref());
        let client = self.attach(&directory)?;
        let published = client.this_node();
        if published != settings.this_node.as_str() {
            return Err(Error::Installation(format!(
                "{} says node {}, the agent has published the configuration of node {published}: restart the agent",
                path.display(),
                settings.this_node,
            )));
        }
        Ok(client)
    }

    /// A client of the installation whose shared memory lies in this directory.
    ///
    /// # Errors
    /// [`Error::Attach`]; [`Error::Settings`] if settings were given that an installation has itself.
    pub fn attach(mut self, directory: &Directory) -> Result<Client, Error> {
        let given = [
            (!self.view.nodes.is_empty(), "nodes"),
            (!self.view.apps.is_empty(), "apps"),
            (self.connecting_timeout.is_some(), "connecting_timeout"),
            (self.retry_connect.is_some(), "retry_connect_timeval"),
        ];
        let problems: Vec<_> = given
            .into_iter()
            .filter(|(given, _)| *given)
            .map(|(_, what)| format!("{what}: an installation has its own"))
            .collect();
        if !problems.is_empty() {
            return Err(Error::Settings(problems));
        }
        let reader = Reader::attach(directory)?;
        self.settings.unix = match self.unix {
            Unix::OfInstallation => Some(Trust::new(directory.path().to_owned())),
            Unix::In(directory) => Some(Trust::new(directory)),
            Unix::Never => None,
        };
        Client::new(reader, self.settings)
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// A setting as the configuration counts it: a started millisecond counts, and more than 49 days are 49 days.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// All that is wrong with a view.
fn problems(view: &View) -> Vec<String> {
    let mut problems = Vec::new();
    let mut name = |what: &str, name: &str| {
        if !names::is_name(name) {
            let name: String = name.chars().take(64).collect();
            problems.push(format!("{what} {name:?}: a name is 1 to 64 of A-Z a-z 0-9 _ - ."));
        }
    };
    name("this node", &view.this_node);
    for node in &view.nodes {
        name("node", &node.name);
    }
    for app in &view.apps {
        name("app", &app.name);
    }
    let mut nodes = HashSet::new();
    for node in &view.nodes {
        if !nodes.insert(node.name.as_str()) {
            problems.push(format!("node {:?}: given twice", node.name));
        }
        let mut hosts = HashSet::new();
        for host in &node.hosts {
            if !hosts.insert(host.addr) {
                problems.push(format!("node {:?}: host {} given twice", node.name, host.addr));
            }
        }
    }
    let mut apps = HashSet::new();
    for app in &view.apps {
        if !apps.insert(app.name.as_str()) {
            problems.push(format!("app {:?}: given twice", app.name));
        }
        if app.timeout_ms == 0 {
            problems.push(format!("app {:?}: a timeout of 0 leaves no time for a call", app.name));
        }
        if !app.server_node.is_empty() && !nodes.contains(app.server_node.as_str()) {
            problems.push(format!("app {:?}: its default node {:?} is not given", app.name, app.server_node));
        }
    }
    problems
}
