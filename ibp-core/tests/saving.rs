//! Saving keeps what people wrote: order, comments, spaces; and the previous files.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ibp_core::config::{ClusterFiles, Host, Kv, Model, ModelBuilder, PairKey, Secret};
use tempfile::TempDir;

const NODES: &str = r#"// The nodes of the bank.
{
	"nodes" :
	[
	{
		"node" : "ECIF" , // customers
		"invalid" : "0" ,
		"hosts" :
		[
		{ "ip" : "158.1.0.56" , "port" : 18001 } , // first
		{ "ip" : "158.1.0.57" , "port" : 18001 } , // second
		{ "ip" : "158.1.0.58" , "port" : 18001 } // third
		]
	} ,
	/* the core system */
	{
		"node" : "CORE" ,
		"invalid" : 0 ,
		"hosts" : [ { "ip" : "66.88.1.10" , "port" : "10601" } ] ,
		"kv" :
		{
			"CURRENCY" : "CNY" , // never another one
			"LIMIT" : "500"
		}
	} ,
	]
}
"#;
const APPS: &str =
    r#"{ "apps" : [ { "app" : "pay" , "desc" : "付款" , "timeout" : 50 } , { "app" : "query" } ] }"#;
const PROJECTS: &str = r#"{
	"projects" :
	[
	{
		"project" : "p" ,
		"server_nodes" : "ECIF" ,
		"client_nodes" : "CORE" ,
		"apps" : "pay  query" // all there are
	}
	]
}
"#;

struct Cluster {
    directory: TempDir,
    files: ClusterFiles,
}

impl Cluster {
    fn new() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let files = ClusterFiles::in_directories(directory.path(), directory.path());
        fs::write(&files.nodes, NODES).unwrap();
        fs::write(&files.apps, APPS).unwrap();
        fs::write(&files.projects, PROJECTS).unwrap();
        Cluster { directory, files }
    }

    fn model(&self) -> Model {
        self.files.load().unwrap_or_else(|error| panic!("{error}")).value
    }

    /// Saves a changed model, checks that it can be read back, and returns the names of the files that changed.
    fn change(&self, change: impl FnOnce(&mut ModelBuilder)) -> Vec<String> {
        let mut edit = self.model().edit();
        change(&mut edit);
        let model = edit.build().unwrap();
        let changed = self.files.save(&model).unwrap_or_else(|error| panic!("{error}"));
        let read = self.model();
        assert!(same(&read, &model), "saved {model:#?}\nread {read:#?}");
        assert!(self.files.save(&model).unwrap().is_empty(), "saving again changes something");
        changed.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn nodes(&self) -> String {
        fs::read_to_string(&self.files.nodes).unwrap()
    }
}

/// Equal but for the order of entries.
fn same(one: &Model, other: &Model) -> bool {
    let mut other = other.edit();
    let mut sorted = Model::builder();
    for node in one.nodes() {
        sorted.add_node(other.remove_node(&node.name).unwrap());
    }
    for app in one.apps() {
        sorted.add_app(other.remove_app(&app.name).unwrap());
    }
    for project in one.projects() {
        sorted.add_project(other.remove_project(&project.name).unwrap());
    }
    *sorted.keys_mut() = other.keys_mut().clone();
    sorted.build().is_ok_and(|sorted| sorted == *one)
}

/// The lines of `new` that are not in `old`, after "+", and the other way round, after "-".
fn difference(old: &str, new: &str) -> Vec<String> {
    let missing = |from: &str, to: &str, sign: &str| {
        let mut rest: Vec<&str> = to.lines().collect();
        let mut missing = Vec::new();
        for line in from.lines() {
            match rest.iter().position(|other| *other == line) {
                Some(at) => drop(rest.remove(at)),
                None => missing.push(format!("{sign}{}", line.trim())),
            }
        }
        missing
    };
    let mut lines = missing(old, new, "-");
    lines.extend(missing(new, old, "+"));
    lines
}

#[test]
fn what_does_not_change_is_not_written() {
    let cluster = Cluster::new();
    assert_eq!(cluster.change(|_| {}), [] as [&str; 0]);
    assert_eq!(cluster.nodes(), NODES);
    assert_eq!(fs::read_dir(cluster.directory.path()).unwrap().count(), 3);
}

#[test]
fn a_changed_field_changes_in_its_place() {
    let cluster = Cluster::new();
    let changed = cluster.change(|edit| edit.node_mut("CORE").unwrap().invalid = true);
    assert_eq!(changed, ["ibp_nodes.conf"]);
    assert_eq!(cluster.nodes(), NODES.replace("\"invalid\" : 0 ,", "\"invalid\" : 1 ,"));
    assert_eq!(fs::read_to_string(cluster.directory.path().join("ibp_nodes.conf.old")).unwrap(), NODES);
}

#[test]
fn hosts_come_and_go_by_lines() {
    let cluster = Cluster::new();
    cluster.change(|edit| {
        let hosts = &mut edit.node_mut("ECIF").unwrap().hosts;
        hosts.remove(1);
        hosts[0].invalid = true;
        hosts.push(Host::parse("158.1.0.59", 18001).unwrap());
    });
    assert_eq!(
        difference(NODES, &cluster.nodes()),
        [
            "-{ \"ip\" : \"158.1.0.56\" , \"port\" : 18001 } , // first",
            "-{ \"ip\" : \"158.1.0.57\" , \"port\" : 18001 } , // second",
            "-{ \"ip\" : \"158.1.0.58\" , \"port\" : 18001 } // third",
            "+{ \"ip\" : \"158.1.0.56\" , \"port\" : 18001 , \"invalid\" : 1 } , // first",
            "+{ \"ip\" : \"158.1.0.58\" , \"port\" : 18001 } , // third",
            "+{ \"ip\" : \"158.1.0.59\" , \"port\" : 18001 }",
        ]
    );
}

#[test]
fn replacing_the_last_or_all_hosts() {
    let cluster = Cluster::new();
    cluster.change(|edit| {
        let hosts = &mut edit.node_mut("ECIF").unwrap().hosts;
        hosts.pop();
        hosts.push(Host::parse("::1", -5).unwrap());
        edit.node_mut("CORE").unwrap().hosts = vec![Host::parse("66.88.1.11", 10601).unwrap()];
    });
    assert_eq!(
        difference(NODES, &cluster.nodes()),
        [
            "-{ \"ip\" : \"158.1.0.58\" , \"port\" : 18001 } // third",
            "-\"hosts\" : [ { \"ip\" : \"66.88.1.10\" , \"port\" : \"10601\" } ] ,",
            "+{ \"ip\" : \"::1\" , \"port\" : -5 }",
            "+\"hosts\" : [",
            "+{ \"ip\" : \"66.88.1.11\" , \"port\" : 10601 }",
            "+] ,",
        ]
    );
    cluster.change(|edit| edit.node_mut("ECIF").unwrap().hosts.reverse());
    cluster.change(|edit| edit.node_mut("ECIF").unwrap().hosts.clear());
    cluster.change(|edit| edit.node_mut("ECIF").unwrap().hosts.push(Host::parse("10.0.0.1", 1).unwrap()));
}

#[test]
fn kv_settings_come_and_go() {
    let cluster = Cluster::new();
    cluster.change(|edit| {
        let kv = &mut edit.node_mut("CORE").unwrap().kv;
        kv[1] = Kv { key: "TEXT".into(), value: "a \"quoted\"\tline\n\u{1}".into() };
        kv[0].value = "USD".into();
        edit.node_mut("ECIF").unwrap().kv = vec![Kv { key: "A".into(), value: "1".into() }];
    });
    assert_eq!(
        difference(NODES, &cluster.nodes()),
        [
            "-]",
            "-\"CURRENCY\" : \"CNY\" , // never another one",
            "-\"LIMIT\" : \"500\"",
            "+] ,",
            "+\"A\" : \"1\"",
            "+\"kv\" :",
            "+{",
            "+\"CURRENCY\" : \"USD\" , // never another one",
            "+\"TEXT\" : \"a \\\"quoted\\\"\\tline\\n\\u0001\"",
            "+}",
        ]
    );
    cluster.change(|edit| edit.node_mut("CORE").unwrap().kv.clear());
}

#[test]
fn entries_come_and_go() {
    let cluster = Cluster::new();
    let changed = cluster.change(|edit| {
        edit.remove_node("CORE");
        edit.project_mut("p").unwrap().client_nodes = vec!["SHOP".into()];
        edit.node("SHOP").host("10.0.0.1", -1).kv("K", "V");
        edit.node("MALL");
        edit.app("new").bin("new.so").timeout_seconds(7).server_node("ECIF");
        edit.remove_app("query");
        edit.project_mut("p").unwrap().apps.pop();
    });
    assert_eq!(changed, ["ibp_nodes.conf", "ibp_apps.conf", "ibp_projects.conf"]);
    let nodes = cluster.nodes();
    assert!(nodes.contains("/* the core system */") && nodes.contains("// customers"), "{nodes}");
    let shop = "\t{\n\t\t\"node\" : \"SHOP\" ,\n\t\t\"invalid\" : \"0\" ,\n\t\t\"hosts\" :\n\t\t[\n\t\t{ \"ip\" : \"10.0.0.1\" , \"port\" : -1 }\n\t\t] ,\n\t\t\"kv\" :\n\t\t{\n\t\t\t\"K\" : \"V\"\n\t\t}\n\t} ,\n";
    assert!(nodes.contains(shop), "{nodes}");
    assert!(
        fs::read_to_string(&cluster.files.projects).unwrap().contains("\"apps\" : \"pay\" // all there are")
    );
}

#[test]
fn everything_goes_and_something_comes() {
    let cluster = Cluster::new();
    cluster.change(|edit| {
        let empty = Model::builder();
        *edit = empty;
    });
    cluster.change(|edit| {
        edit.node("A");
        edit.app("a");
        edit.project("p").server_nodes(["A"]).client_nodes(["A"]).apps(["a"]);
    });
}

#[test]
fn files_that_are_not_there_or_wrong_are_written_as_a_whole() {
    let cluster = Cluster::new();
    let model = cluster.model();
    fs::remove_file(&cluster.files.apps).unwrap();
    fs::write(&cluster.files.projects, "{ \"projects\" : [ { } ").unwrap();
    let changed = cluster.files.save(&model).unwrap();
    assert_eq!(changed, [cluster.files.apps.clone(), cluster.files.projects.clone()]);
    assert_eq!(cluster.model(), model);
    assert_eq!(cluster.nodes(), NODES);
    let old = fs::read_to_string(cluster.directory.path().join("ibp_projects.conf.old")).unwrap();
    assert_eq!(old, "{ \"projects\" : [ { } ");
}

#[test]
fn keys_are_written_for_their_owner_only() {
    let cluster = Cluster::new();
    let secret = |first: u8| Secret(std::array::from_fn(|at| first + at as u8));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let changed = cluster.change(|edit| {
        edit.keys("ECIF", "CORE", PairKey::first(secret(1)));
    });
    assert_eq!((&changed[..], mode(&cluster.files.keys)), (&["ibp_keys.conf".to_owned()][..], 0o600));

    let commented =
        fs::read_to_string(&cluster.files.keys).unwrap().replace("\"key\"", "// of today\n\t\t\"key\"");
    fs::write(&cluster.files.keys, commented).unwrap();
    cluster.change(|edit| {
        let changed = edit.keys_mut().get("CORE", "ECIF").unwrap().changed(secret(2), 1_000, 60, 120);
        edit.keys_mut().insert(ibp_core::config::Pair::new("CORE", "ECIF"), changed);
    });
    assert!(fs::read_to_string(&cluster.files.keys).unwrap().contains("// of today"));
    assert_eq!(mode(&cluster.directory.path().join("ibp_keys.conf.old")), 0o600);

    cluster.change(|edit| {
        edit.keys_mut().insert(ibp_core::config::Pair::new("ECIF", "CORE"), PairKey::first(secret(3)));
    });
    let text = fs::read_to_string(&cluster.files.keys).unwrap();
    assert!(!text.contains("previous_key"), "{text}");
    cluster.change(|edit| *edit.keys_mut() = Default::default());
}

#[test]
fn the_mode_of_a_file_stays() {
    let cluster = Cluster::new();
    fs::set_permissions(&cluster.files.nodes, fs::Permissions::from_mode(0o640)).unwrap();
    cluster.change(|edit| edit.node_mut("CORE").unwrap().invalid = true);
    assert_eq!(fs::metadata(&cluster.files.nodes).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_link_stays_a_link() {
    let cluster = Cluster::new();
    let real = cluster.directory.path().join("real.conf");
    fs::rename(&cluster.files.nodes, &real).unwrap();
    std::os::unix::fs::symlink(&real, &cluster.files.nodes).unwrap();
    cluster.change(|edit| edit.node_mut("CORE").unwrap().invalid = true);
    assert!(fs::symlink_metadata(&cluster.files.nodes).unwrap().is_symlink());
    assert_ne!(fs::read_to_string(&real).unwrap(), NODES);
}
