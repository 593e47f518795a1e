//! The rules of the configuration model, and what a node sees of it.
#![allow(clippy::unwrap_used)]

use ibp_core::config::{Access, App, Host, Model, ModelBuilder, Node, Pair, PairKey, Project, Secret, View};

/// ECIF serves CORE; CORE serves SHOP; BANK is connected with no one.
fn cluster() -> ModelBuilder {
    let mut cluster = Model::builder();
    cluster.node("SHOP").host("10.0.0.1", -1);
    cluster.node("ECIF").host("158.1.0.56", 18001).host("158.1.0.57", 18001);
    cluster.node("CORE").host("::1", 10601).kv("LIMIT", "500").kv("CURRENCY", "CNY");
    cluster.node("BANK").host("10.0.0.9", 1);
    cluster.app("query").bin("query.so").timeout_seconds(50);
    cluster.app("pay").bin("pay.so").timeout_seconds(5).timeout2_seconds(7).server_node("CORE");
    cluster.app("unused");
    cluster.project("shopping").server_nodes(["CORE"]).client_nodes(["SHOP"]).apps(["pay", "query"]);
    cluster.project("customers").server_nodes(["ECIF"]).client_nodes(["CORE"]).apps(["query"]);
    cluster
}

fn problems(cluster: ModelBuilder) -> Vec<String> {
    match cluster.build() {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

fn names<'a, T>(items: &'a [T], name: impl Fn(&'a T) -> &'a String) -> Vec<&'a str> {
    items.iter().map(|item| name(item).as_str()).collect()
}

fn view(node: &str) -> View {
    cluster().build().unwrap().view(node).unwrap()
}

#[test]
fn a_view_shows_the_counterparts_of_the_node() {
    let nodes = |node| {
        let view = view(node);
        view.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(nodes("SHOP"), ["CORE", "SHOP"]);
    assert_eq!(nodes("CORE"), ["CORE", "ECIF", "SHOP"]);
    assert_eq!(nodes("ECIF"), ["CORE", "ECIF"]);
    assert_eq!(nodes("BANK"), ["BANK"]);
}

#[test]
fn a_view_shows_the_apps_of_the_projects() {
    assert_eq!(names(&view("SHOP").apps, |app| &app.name), ["pay", "query"]);
    assert_eq!(names(&view("ECIF").apps, |app| &app.name), ["query"]);
    assert!(view("BANK").apps.is_empty());

    let core = view("CORE");
    let (pay, query) = (&core.apps[0], &core.apps[1]);
    assert_eq!((pay.timeout_ms, pay.timeout2_ms, pay.server_node.as_str()), (5_000, 7_000, "CORE"));
    assert_eq!((query.timeout_ms, query.timeout2_ms, query.server_node.as_str()), (50_000, 75_000, ""));
    assert_eq!(core.access, Access::Projects);
}

#[test]
fn a_view_shows_of_a_project_only_the_other_side() {
    let mut cluster = cluster();
    cluster.node("MALL").host("10.0.0.2", -1);
    cluster.project_mut("shopping").unwrap().client_nodes.push("MALL".into());
    let model = cluster.build().unwrap();

    let shop = model.view("SHOP").unwrap();
    assert_eq!(names(&shop.nodes, |node| &node.name), ["CORE", "SHOP"]);
    assert_eq!(shop.projects[0].client_nodes, ["SHOP"]);
    assert_eq!(shop.projects[0].server_nodes, ["CORE"]);

    let core = model.view("CORE").unwrap();
    assert_eq!(names(&core.projects, |project| &project.name), ["customers", "shopping"]);
    assert_eq!(core.projects[1].client_nodes, ["MALL", "SHOP"]);
    assert_eq!(core.projects[1].server_nodes, ["CORE"]);
}

#[test]
fn a_view_has_the_nodes_own_kv_and_keeps_the_order_of_hosts() {
    let core = view("CORE");
    let kv: Vec<_> = core.kv.iter().map(|kv| (kv.key.as_str(), kv.value.as_str())).collect();
    assert_eq!(kv, [("CURRENCY", "CNY"), ("LIMIT", "500")]);
    assert!(view("SHOP").kv.is_empty());

    let hosts: Vec<_> = core.nodes[1].hosts.iter().map(|host| host.addr.to_string()).collect();
    assert_eq!(hosts, ["158.1.0.56:18001", "158.1.0.57:18001"]);
}

#[test]
fn a_client_only_host_has_port_0_in_a_view() {
    assert_eq!(view("SHOP").nodes[1].hosts[0].addr.to_string(), "10.0.0.1:0");
}

#[test]
fn keys_stand_in_the_views_of_their_two_nodes_only() {
    let key = |first: u8| PairKey::first(Secret(std::array::from_fn(|at| first + at as u8)));
    let mut cluster = cluster();
    cluster.keys("CORE", "SHOP", key(1)).keys("ECIF", "CORE", key(2));
    // BANK and SHOP have a key, but no project connects them.
    cluster.keys("BANK", "SHOP", key(3));
    let model = cluster.build().unwrap();

    let keys = |node: &str| {
        let view = model.view(node).unwrap();
        view.nodes.into_iter().map(|node| (node.name, node.key)).collect::<Vec<_>>()
    };
    assert_eq!(keys("SHOP"), [("CORE".into(), Some(key(1))), ("SHOP".into(), None)]);
    assert_eq!(
        keys("CORE"),
        [("CORE".into(), None), ("ECIF".into(), Some(key(2))), ("SHOP".into(), Some(key(1)))]
    );
    assert_eq!(keys("BANK"), [("BANK".into(), None)]);
}

#[test]
fn a_node_that_serves_itself_has_a_key_with_itself() {
    let key = PairKey::first(Secret(std::array::from_fn(|at| at as u8)));
    let mut cluster = cluster();
    cluster.keys("CORE", "CORE", key.clone());
    assert_eq!(cluster.clone().build().unwrap().view("CORE").unwrap().nodes[0].key, None);

    cluster.project("loop").server_nodes(["CORE"]).client_nodes(["CORE"]).apps(["pay"]);
    assert_eq!(cluster.build().unwrap().view("CORE").unwrap().nodes[0].key, Some(key));
}

#[test]
fn the_order_of_entries_does_not_show_in_a_view() {
    let model = cluster().build().unwrap();
    let mut turned = Model::builder();
    for node in model.nodes().iter().rev() {
        turned.add_node(Node { kv: node.kv.iter().rev().cloned().collect(), ..node.clone() });
    }
    for app in model.apps().iter().rev() {
        turned.add_app(app.clone());
    }
    for project in model.projects().iter().rev() {
        let apps = project.apps.iter().rev().cloned().collect();
        turned.add_project(Project { apps, ..project.clone() });
    }
    let turned = turned.build().unwrap();
    assert_ne!(model, turned);
    for node in model.nodes() {
        assert_eq!(model.view(&node.name), turned.view(&node.name));
    }
}

#[test]
fn an_unknown_node_has_no_view() {
    let error = cluster().build().unwrap().view("ECFI").unwrap_err();
    assert!(error.to_string().contains("\"ECFI\""), "{error}");
}

#[test]
fn all_problems_are_reported_at_once() {
    let mut cluster = Model::builder();
    cluster.node("ECIF 1").host("db.example", 18001).host("158.1.0.56", 70_000).kv("", "x");
    cluster.node("CORE").host("10.0.0.1", 1).host("10.0.0.1", 1).kv("K", "1").kv("K", "2").kv("L", "a\0b");
    cluster.node("CORE").host("10.0.0.2", 1);
    cluster.app("pay").bin("../pay.so").timeout_seconds(0).timeout2_seconds(86_401).server_node("CROE");
    cluster.app("pay").desc("two\nlines");
    cluster.project("p").server_nodes(["CORE", "ecif", "CORE"]).client_nodes([""; 1]).apps(["pya"]);
    cluster.keys("CORE", "NONE", PairKey::first(Secret([7; 32])));
    assert_eq!(
        problems(cluster),
        [
            "node \"ECIF 1\", host \"db.example\", port 18001: \"db.example\" is not an IP address; a host is given by its IPv4 or IPv6 address, host names are refused",
            "node \"ECIF 1\", host \"158.1.0.56\", port 70000: the port 70000 is outside 1 to 65535 (or -65535 to -1 for a client-only host)",
            "node \"ECIF 1\": the name contains ' '; a name consists of ASCII letters, digits, \"_\", \"-\" and \".\"",
            "node \"ECIF 1\", kv \"\": the name is empty; a name has 1 to 64 bytes",
            "node \"CORE\", host 10.0.0.1:1: the host 10.0.0.1:1 stands twice in this node",
            "node \"CORE\", kv \"L\": the value contains the control character '\\0'",
            "node \"CORE\", kv \"K\": the kv key \"K\" stands twice in this node",
            "node \"CORE\": another node has this name; each node stands once",
            "app \"pay\", bin: \"../pay.so\" is not the name of a file in so/; an app package is named without a directory",
            "app \"pay\": timeout is 0 s; it is 1 to 86400 s",
            "app \"pay\": timeout2 is 86401 s; it is 0 to 86400 s",
            "app \"pay\", server_node: there is no node \"CROE\"; did you mean \"CORE\"?",
            "app \"pay\": another app has this name; each app stands once",
            "app \"pay\": desc contains the control character '\\n'",
            "project \"p\", server_nodes: there is no node \"ecif\"; did you mean \"ECIF 1\"?",
            "project \"p\", server_nodes: \"CORE\" stands twice in server_nodes",
            "project \"p\", client_nodes: there is no node \"\"",
            "project \"p\", apps: there is no app \"pya\"; did you mean \"pay\"?",
            "keys of \"CORE\" and \"NONE\": there is no node \"NONE\"",
            "keys of \"CORE\" and \"NONE\": the key consists of one byte repeated; a key is 256 random bits",
        ]
    );
}

#[test]
fn two_client_only_hosts_of_one_address_are_one() {
    let mut cluster = Model::builder();
    cluster.node("N").host("10.0.0.1", -1).host("10.0.0.1", -2).host("10.0.0.1", 2);
    assert_eq!(
        problems(cluster),
        ["node \"N\", host 10.0.0.1:-2: the host 10.0.0.1:-2 stands twice in this node"]
    );
}

#[test]
fn repeats_are_found_in_long_lists_too() {
    let mut cluster = Model::builder();
    let hosts: Vec<Host> = (0..300).map(|at| Host::parse("10.0.0.1", 1 + at % 299).unwrap()).collect();
    cluster.add_node(Node { hosts, ..Node::new("N") });
    assert_eq!(
        problems(cluster),
        ["node \"N\", host 10.0.0.1:1: the host 10.0.0.1:1 stands twice in this node"]
    );
}

#[test]
fn an_edit_starts_from_everything() {
    let mut cluster = cluster();
    cluster.keys("CORE", "SHOP", PairKey::first(Secret(std::array::from_fn(|at| at as u8))));
    let model = cluster.build().unwrap();
    assert_eq!(model.edit().build().unwrap(), model);

    let mut edit = model.edit();
    edit.remove_node("ECIF");
    assert_eq!(
        edit.clone().build().unwrap_err().to_string(),
        "project \"customers\", server_nodes: there is no node \"ECIF\""
    );
    edit.remove_project("customers");
    edit.app_mut("pay").unwrap().timeout_seconds = 9;
    edit.add_app(App { timeout_seconds: 3, ..App::new("new") });
    edit.keys_mut().remove(&Pair::new("SHOP", "CORE"));
    let changed = edit.build().unwrap();
    assert!(changed.node("ECIF").is_none() && changed.node("CORE").is_some());
    assert_eq!(changed.app("pay").unwrap().timeout_ms(), 9_000);
    assert!(changed.keys().is_empty());
    assert!(changed.view("CORE").unwrap().nodes.iter().all(|node| node.key.is_none()));
}

#[test]
fn a_change_tells_whom_it_touches_and_why() {
    use ibp_core::config::Changes;

    let old = cluster().build().unwrap();
    let mut edit = old.edit();
    edit.node_mut("ECIF").unwrap().hosts.pop();
    edit.app_mut("pay").unwrap().timeout_seconds = 6;
    edit.node_mut("BANK").unwrap().kv.push(ibp_core::config::Kv { key: "K".into(), value: "1".into() });
    edit.project_mut("customers").unwrap().apps.push("unused".into());
    edit.keys("CORE", "SHOP", PairKey::first(Secret(std::array::from_fn(|at| at as u8))));
    edit.node("NEW");
    let changes = Changes::between(&old, &edit.build().unwrap());
    let told: Vec<String> = changes
        .iter()
        .map(|(node, reasons)| {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            format!("{node}: {}", reasons.join(", "))
        })
        .collect();
    assert_eq!(
        told,
        [
            "BANK: its kv settings have changed",
            "CORE: node ECIF has changed, app pay has changed, project customers has changed, its keys with node SHOP have changed",
            "ECIF: node ECIF has changed, project customers has changed",
            "NEW: the node is new",
            "SHOP: app pay has changed, its keys with node CORE have changed",
        ]
    );
}
