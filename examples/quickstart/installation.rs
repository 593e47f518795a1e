//! A temporary installation: the directories and files that a host of the cluster has.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ibp_core::config::{ClusterFiles, IbmaSettings, View};
use ibp_shm::Directory;
use tempfile::TempDir;

use crate::Result;
use crate::kinds::{APP_TIMEOUT_SECONDS, CLIENT_NODE, ECHO, SERVER_NODE, SLOW_ECHO};

/// The installation; dropping it removes its files and its shared memory.
#[derive(Debug)]
pub struct Installation {
    home: Option<TempDir>,
    path: PathBuf,
    shared_memory: Directory,
}

impl Installation {
    pub fn make() -> Result<Self> {
        let home = tempfile::Builder::new().prefix("ibp-quickstart-").tempdir()?;
        let path = home.path().to_owned();
        let shared_memory = Directory::of_installation(&path);
        let installation = Self { home: Some(home), path, shared_memory };
        for directory in ["etc", "keys", "log"] {
            fs::create_dir(installation.path.join(directory))?;
        }
        installation.write("ibma.conf", &ibma_conf())?;
        installation.write("ibp_apps.conf", &apps_conf())?;
        installation.write("ibp_projects.conf", &projects_conf())?;
        installation.write_nodes(&[], 0)?;
        Ok(installation)
    }

    /// Writes the file of nodes anew: the hosts of the server node, and a setting that tells one configuration from
    /// the next.
    pub fn write_nodes(&self, hosts: &[SocketAddr], edition: u32) -> Result<()> {
        self.write("ibp_nodes.conf", &nodes_conf(hosts, edition))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.path.join("etc").join(name), text)?)
    }

    pub fn home(&self) -> &Path {
        &self.path
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("log").join(name)
    }

    /// Where its shared memory lies, and what is in there.
    pub fn shared_memory(&self) -> (&Path, Vec<String>) {
        let entries = fs::read_dir(self.shared_memory.path()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        (self.shared_memory.path(), names)
    }

    /// Leaves the files where they are.
    pub fn keep(&mut self) {
        if let Some(home) = self.home.take() {
            let _ = home.keep();
        }
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        match fs::remove_dir_all(self.shared_memory.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let _ = writeln!(
                    io::stderr(),
                    "quickstart: cannot remove {}: {error}",
                    self.shared_memory.path().display()
                );
            }
            _ => {}
        }
    }
}

/// What the agent of an installation publishes: its node's view of the cluster that the files in `etc` describe.
pub fn view(home: &Path) -> Result<View> {
    let (etc, keys) = (home.join("etc"), home.join("keys"));
    let settings = IbmaSettings::load(&etc.join("ibma.conf"))?.value;
    let files = match &settings.config {
        Some(names) => names.resolve(&etc, &keys),
        None => ClusterFiles::in_directories(&etc, &keys),
    };
    let mut view = files.load()?.value.view(&settings.this_node)?;
    settings.apply(&mut view);
    Ok(view)
}

fn ibma_conf() -> String {
    format!(
        r#"{{
	"ibma" :
	{{
		"this_node" : "{CLIENT_NODE}" ,
		"config" : // taken from files: there is no registry here
		{{
			"nodes_conf" : "ibp_nodes.conf" ,
			"apps_conf" : "ibp_apps.conf" ,
			"projects_conf" : "ibp_projects.conf"
		}}
	}} ,
	"ibac" :
	{{
		"connecting_timeout" : 5 , // seconds
		"retry_connect_timeval" : 1
	}}
}}
"#
    )
}

fn apps_conf() -> String {
    let app = |name, desc| {
        format!(
            r#"	{{
		"app" : "{name}" ,
		"desc" : "{desc}" ,
		"timeout" : "{APP_TIMEOUT_SECONDS}" ,
		"timeout2" : "0" ,
		"invalid" : "0" ,
		"server_node" : "{SERVER_NODE}"
	}} ,
"#
        )
    };
    let echo = app(ECHO, "answers with the request");
    let slow = app(SLOW_ECHO, "answers with the request, after a while");
    format!("{{\n\t\"apps\" :\n\t[\n{echo}{slow}\t]\n}}\n")
}

fn projects_conf() -> String {
    format!(
        r#"{{
	"projects" :
	[
	{{
		"project" : "echo_project" ,
		"server_nodes" : "{SERVER_NODE}" ,
		"client_nodes" : "{CLIENT_NODE}" ,
		"apps" : "{ECHO} {SLOW_ECHO}"
	}}
	]
}}
"#
    )
}

fn nodes_conf(hosts: &[SocketAddr], edition: u32) -> String {
    let hosts: String = hosts
        .iter()
        .map(|host| format!("\t\t{{ \"ip\" : \"{}\" , \"port\" : {} }} ,\n", host.ip(), host.port()))
        .collect();
    format!(
        r#"{{
	"nodes" :
	[
	{{
		"node" : "{SERVER_NODE}" ,
		"invalid" : "0" ,
		"hosts" :
		[
{hosts}		]
	}} ,
	{{
		"node" : "{CLIENT_NODE}" ,
		"invalid" : "0" ,
		"hosts" :
		[
		] ,
		"kv" : {{ "EDITION" : "{edition}" }}
	}}
	]
}}
"#
    )
}
