//! Wrong files and the exact messages about them.
//!
//! The cases stand in `tests/wrong_files/*.txt`: a title line `==== FILE: what is wrong`, the text of the file, a line
//! `----`, the messages. After a wanted change of messages, run the test with `IBP_UPDATE_SNAPSHOTS=1` and read the
//! difference before keeping it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::Path;

use ibp_core::config::json::Source;
use ibp_core::config::{ClusterTexts, ConfigError, IbasSettings, IbmaSettings, IbmsSettings, Model};

const NODES: &str = r#"{ "nodes" : [ { "node" : "ECIF" }, { "node" : "CORE" } ] }"#;
const APPS: &str = r#"{ "apps" : [ { "app" : "echo" }, { "app" : "pay" } ] }"#;
const PROJECTS: &str = r#"{ "projects" : [] }"#;

fn messages(file: &str, text: &str) -> String {
    let source = Source::new(file, text);
    let found = match file {
        "ibms.conf" => found(IbmsSettings::read(source).map(|loaded| loaded.warnings)),
        "ibma.conf" => found(IbmaSettings::read(source).map(|loaded| loaded.warnings)),
        "ibas.conf" => found(IbasSettings::read(source).map(|loaded| loaded.warnings)),
        _ => {
            let mut texts = ClusterTexts {
                nodes: Source::new("ibp_nodes.conf", NODES),
                apps: Source::new("ibp_apps.conf", APPS),
                projects: Source::new("ibp_projects.conf", PROJECTS),
                keys: None,
            };
            match file {
                "ibp_nodes.conf" => texts.nodes = source,
                "ibp_apps.conf" => texts.apps = source,
                "ibp_projects.conf" => texts.projects = source,
                "ibp_keys.conf" => texts.keys = Some(source),
                _ => panic!("no such kind of file: {file}"),
            }
            found(Model::read(&texts).map(|loaded| loaded.warnings))
        }
    };
    found.iter().fold(String::new(), |mut all, diagnostic| {
        writeln!(all, "{diagnostic}").unwrap();
        all
    })
}

fn found(
    result: Result<Vec<ibp_core::config::Diagnostic>, ConfigError>,
) -> Vec<ibp_core::config::Diagnostic> {
    result.unwrap_or_else(|error| error.diagnostics)
}

#[test]
fn messages_are_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong_files");
    let update = std::env::var_os("IBP_UPDATE_SNAPSHOTS").is_some();
    let mut cases = 0;
    let mut wrong = String::new();
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let table = std::fs::read_to_string(&path).unwrap();
        let mut updated = String::new();
        for case in table.split("==== ").skip(1) {
            let (title, rest) = case.split_once('\n').unwrap();
            let (file, _) = title.split_once(": ").unwrap();
            let (text, expected) = rest.split_once("----\n").unwrap();
            // The line break before the separator belongs to the table.
            let text = text.strip_suffix('\n').unwrap_or(text);
            let messages = messages(file, text);
            let expected = expected.trim_end();
            if messages.trim_end() != expected {
                write!(wrong, "\n==== {title}\nexpected:\n{expected}\ngot:\n{messages}").unwrap();
            }
            write!(updated, "==== {title}\n{text}\n----\n{messages}\n").unwrap();
            cases += 1;
        }
        if update {
            std::fs::write(&path, updated).unwrap();
        }
    }
    assert!(cases >= 60, "only {cases} cases");
    assert!(wrong.is_empty() || update, "{wrong}");
}

#[test]
fn nothing_of_a_key_is_shown() {
    let key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let texts = [
        format!(r#"{{ "keys" : [ {{ "nodes" : "{key} CORE" , "key" : "{key}" }} ] }}"#),
        format!(r#"{{ "keys" : [ {{ "nodes" : "ECIF CORE" , "key" : "{key}0" , "{key}" : {key} }} ] }}"#),
        format!(
            r#"{{ "keys" : [ {{ "nodes" : "ECIF CORE" , "key" : {key} , "new_key_enable_at" : "{key}" }} ] }}"#
        ),
        format!(r#"{{ "keys" : [ {{ "nodes" : "ECIF CORE" , {key} : '{key}' }} {key} ] }} {key}"#),
        format!(
            r#"{{ "keys" : [ {{ "nodes" : "ECIF CORE" , "key" : "{key}" "{key}" , "{key}" , "{key}" : 1 }} ] }}"#
        ),
    ];
    for text in texts {
        let shown = messages("ibp_keys.conf", &text);
        assert!(shown.contains("ibp_keys.conf:1:"), "{shown}");
        assert!(!shown.contains("0123456789"), "{shown}");
    }
}

#[test]
fn a_file_in_another_encoding() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ibas.conf");
    // The Chinese word for "name", as GB18030 has it.
    std::fs::write(&path, b"{\n  \"ibas\" : {} , // \xc3\xfb\xd7\xd6\n}\n").unwrap();
    let error = IbasSettings::load(&path).unwrap_err().to_string();
    let expected = "ibas.conf:2:20: error: the file is not UTF-8: it contains the byte 0xc3 here\n    help: convert it, for example: iconv -f GB18030 -t UTF-8";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let missing = IbmaSettings::load(&directory.path().join("ibma.conf")).unwrap_err();
    assert!(
        missing
            .to_string()
            .ends_with("ibma.conf: error: cannot be read: No such file or directory (os error 2)")
    );
    let no_file = IbmaSettings::load(directory.path()).unwrap_err();
    assert!(no_file.to_string().ends_with("error: cannot be read: it is not a regular file"), "{no_file}");
}
