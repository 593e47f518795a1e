//! How a model is put together: in code, from files, or as a change of another model.

use super::validate::Resolved;
use super::{
    App, Entry, Field, Host, Keys, Kv, Model, Name, Node, Pair, PairKey, Problem, Problems, Project, validate,
};

/// Collects the entries of a [`Model`] and validates them together.
///
/// Nothing fails before [`build`](ModelBuilder::build), which reports everything that is wrong.
///
/// ```
/// use ibp_core::config::Model;
///
/// let mut cluster = Model::builder();
/// cluster.node("ECIF").host("158.1.0.56", 18001).host("158.1.0.57", 18001);
/// cluster.node("CORE").host("66.88.1.10", 10601).kv("CURRENCY", "CNY");
/// cluster.app("ibp_test_echo").bin("ibp_test_echo.so").timeout_seconds(50);
/// cluster.project("echo").server_nodes(["ECIF"]).client_nodes(["CORE"]).apps(["ibp_test_echo"]);
/// let model = cluster.build()?;
///
/// let view = model.view("CORE")?;
/// assert_eq!(view.nodes.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ModelBuilder {
    pub(super) nodes: Vec<Node>,
    pub(super) apps: Vec<App>,
    pub(super) projects: Vec<Project>,
    pub(super) keys: Keys,
    /// Problems that show already when something is added.
    problems: Vec<Problem>,
}

impl ModelBuilder {
    /// Adds a node without hosts, to be filled by the calls that follow.
    pub fn node(&mut self, name: impl Into<Name>) -> NodeBuilder<'_> {
        let at = self.nodes.len();
        self.nodes.push(Node::new(name));
        NodeBuilder { node: &mut self.nodes[at], problems: &mut self.problems }
    }

    /// Adds an app with the default timeout, to be filled by the calls that follow.
    pub fn app(&mut self, name: impl Into<Name>) -> AppBuilder<'_> {
        let at = self.apps.len();
        self.apps.push(App::new(name));
        AppBuilder(&mut self.apps[at])
    }

    /// Adds a project without members, to be filled by the calls that follow.
    pub fn project(&mut self, name: impl Into<Name>) -> ProjectBuilder<'_> {
        let at = self.projects.len();
        self.projects.push(Project::new(name));
        ProjectBuilder(&mut self.projects[at])
    }

    /// Gives keys to a pair of nodes.
    pub fn keys(&mut self, one: impl Into<Name>, other: impl Into<Name>, key: PairKey) -> &mut Self {
        let pair = Pair::new(one, other);
        if self.keys.insert(pair.clone(), key).is_some() {
            let rule = super::Rule::DuplicatePair;
            self.problems.push(Problem { entry: Entry::Keys(pair), field: Field::Name, rule, occurrence: 1 });
        }
        self
    }

    /// Adds a node.
    pub fn add_node(&mut self, node: Node) -> &mut Self {
        self.nodes.push(node);
        self
    }

    /// Adds an app.
    pub fn add_app(&mut self, app: App) -> &mut Self {
        self.apps.push(app);
        self
    }

    /// Adds a project.
    pub fn add_project(&mut self, project: Project) -> &mut Self {
        self.projects.push(project);
        self
    }

    /// The first node of this name, to be changed.
    pub fn node_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.name == name)
    }

    /// The first app of this name, to be changed.
    pub fn app_mut(&mut self, name: &str) -> Option<&mut App> {
        self.apps.iter_mut().find(|app| app.name == name)
    }

    /// The first project of this name, to be changed.
    pub fn project_mut(&mut self, name: &str) -> Option<&mut Project> {
        self.projects.iter_mut().find(|project| project.name == name)
    }

    /// All keys, to be changed.
    pub fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// Takes the first node of this name out. References to it stay, and are reported unless they go too.
    pub fn remove_node(&mut self, name: &str) -> Option<Node> {
        let at = self.nodes.iter().position(|node| node.name == name)?;
        Some(self.nodes.remove(at))
    }

    /// Takes the first app of this name out. References to it stay, and are reported unless they go too.
    pub fn remove_app(&mut self, name: &str) -> Option<App> {
        let at = self.apps.iter().position(|app| app.name == name)?;
        Some(self.apps.remove(at))
    }

    /// Takes the first project of this name out.
    pub fn remove_project(&mut self, name: &str) -> Option<Project> {
        let at = self.projects.iter().position(|project| project.name == name)?;
        Some(self.projects.remove(at))
    }

    /// The model, when every entry obeys every rule.
    ///
    /// # Errors
    /// Every problem of every entry, in the order nodes, apps, projects, keys.
    pub fn build(self) -> Result<Model, Problems> {
        let resolved = Resolved::of(&self);
        self.build_resolved(resolved)
    }

    /// [`build`](ModelBuilder::build) when the names were looked up while the entries came in.
    pub(super) fn build_resolved(mut self, resolved: Resolved) -> Result<Model, Problems> {
        let mut problems = std::mem::take(&mut self.problems);
        let links = validate::check(&self, resolved, &mut problems);
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        Ok(Model::from_checked(self, links))
    }
}

/// Fills a node of a [`ModelBuilder`].
#[derive(Debug)]
pub struct NodeBuilder<'a> {
    node: &'a mut Node,
    problems: &'a mut Vec<Problem>,
}

impl NodeBuilder<'_> {
    /// Adds a host: an IPv4 or IPv6 address and a port (negative for a client-only host).
    pub fn host(&mut self, ip: &str, port: i64) -> &mut Self {
        match Host::parse(ip, port) {
            Ok(host) => self.node.hosts.push(host),
            Err(rule) => {
                let entry = Entry::Node(self.node.name.clone());
                let field = Field::Host(format!("{ip:?}, port {port}"));
                self.problems.push(Problem { entry, field, rule, occurrence: 0 });
            }
        }
        self
    }

    /// Sets a kv setting.
    pub fn kv(&mut self, key: impl Into<Name>, value: impl Into<Box<str>>) -> &mut Self {
        self.node.kv.push(Kv { key: key.into(), value: value.into() });
        self
    }

    /// Says that the node is never chosen.
    pub fn invalid(&mut self, invalid: bool) -> &mut Self {
        self.node.invalid = invalid;
        self
    }
}

/// Fills an app of a [`ModelBuilder`].
#[derive(Debug)]
pub struct AppBuilder<'a>(&'a mut App);

impl AppBuilder<'_> {
    /// Describes it for people.
    pub fn desc(&mut self, desc: impl Into<Box<str>>) -> &mut Self {
        self.0.desc = desc.into();
        self
    }

    /// Names the app package, a file in `so/`.
    pub fn bin(&mut self, bin: impl Into<Box<str>>) -> &mut Self {
        self.0.bin = bin.into();
        self
    }

    /// Sets how long a client waits, in seconds.
    pub fn timeout_seconds(&mut self, seconds: u32) -> &mut Self {
        self.0.timeout_seconds = seconds;
        self
    }

    /// Sets how long the app may run, in seconds; 0 is one and a half times the client's timeout.
    pub fn timeout2_seconds(&mut self, seconds: u32) -> &mut Self {
        self.0.timeout2_seconds = seconds;
        self
    }

    /// Names the node that serves requests which name none.
    pub fn server_node(&mut self, node: impl Into<Name>) -> &mut Self {
        self.0.server_node = Some(node.into());
        self
    }

    /// Says that the app is never run.
    pub fn invalid(&mut self, invalid: bool) -> &mut Self {
        self.0.invalid = invalid;
        self
    }
}

/// Fills a project of a [`ModelBuilder`].
#[derive(Debug)]
pub struct ProjectBuilder<'a>(&'a mut Project);

impl ProjectBuilder<'_> {
    /// Adds nodes that serve the apps.
    pub fn server_nodes<N: Into<Name>>(&mut self, nodes: impl IntoIterator<Item = N>) -> &mut Self {
        self.0.server_nodes.extend(nodes.into_iter().map(Into::into));
        self
    }

    /// Adds nodes that may ask for the apps.
    pub fn client_nodes<N: Into<Name>>(&mut self, nodes: impl IntoIterator<Item = N>) -> &mut Self {
        self.0.client_nodes.extend(nodes.into_iter().map(Into::into));
        self
    }

    /// Adds apps.
    pub fn apps<N: Into<Name>>(&mut self, apps: impl IntoIterator<Item = N>) -> &mut Self {
        self.0.apps.extend(apps.into_iter().map(Into::into));
        self
    }
}
