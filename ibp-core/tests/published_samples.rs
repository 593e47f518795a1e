//! The published samples of all configuration files load, with the values that are printed there.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use ibp_core::config::json::{Reader, Source};
use ibp_core::config::{
    ClusterFiles, IbasSettings, IbmaSettings, IbmsSettings, LogLevel, Mode, Model, Severity,
};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

fn cluster() -> Model {
    let files = ClusterFiles::in_directories(&sample(""), Path::new("/nonexistent"));
    let loaded = files.load().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    loaded.value
}

#[test]
fn nodes() {
    let cluster = cluster();
    let hosts =
        |node: &str| cluster.node(node).unwrap().hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(hosts("ECIF"), ["158.1.0.56:18001", "158.1.0.57:18001", "158.1.0.58:18001"]);
    assert_eq!(hosts("CORE"), ["66.88.1.10:10601"]);
    assert!(cluster.nodes().iter().all(|node| !node.invalid));
}

#[test]
fn apps() {
    let cluster = cluster();
    let echo = cluster.app("ibp_test_echo").unwrap();
    assert_eq!((&*echo.desc, &*echo.bin), ("测试报文回射服务", "ibp_test_echo.so"));
    assert_eq!((echo.timeout_ms(), echo.timeout2_ms()), (50_000, 75_000));
    let file = cluster.app("ibp_test_file").unwrap();
    assert_eq!((file.timeout_ms(), file.timeout2_ms()), (120_000, 180_000));
}

#[test]
fn projects() {
    let view = cluster().view("CORE").unwrap();
    assert_eq!(view.projects[0].name, "echo_project");
    assert_eq!(view.projects[0].server_nodes, ["ECIF"]);
    assert_eq!(view.projects[0].apps, ["ibp_test_echo", "ibp_test_file"]);
}

#[test]
fn ibms() {
    let loaded = IbmsSettings::load(&sample("ibms.conf")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    let ibms = loaded.value;
    assert_eq!(ibms.server.to_string(), "158.1.0.54:16001");
    assert_eq!(ibms.config.nodes_conf, Path::new("ibp_nodes.conf"));
    assert_eq!((ibms.key_change.old_key_disable_elapse, ibms.key_change.new_key_enable_elapse), (120, 60));
    assert!(!ibms.auto_download_bin);
    assert_eq!(ibms.second_config_dump.unwrap().to_string(), "158.1.0.55:26001");
    assert_eq!((ibms.log.main.level, ibms.log.monitor.level), (LogLevel::Debug, LogLevel::Info));
    let path = ibms.log.worker.output.path(Path::new("/home/ibms"), 0, "");
    assert_eq!(path, Some("/home/ibms/log/ibms_worker.log".into()));
}

#[test]
fn ibma_with_its_missing_comma() {
    let loaded = IbmaSettings::load(&sample("ibma.conf")).unwrap_or_else(|error| panic!("{error}"));
    let warnings: Vec<String> = loaded.warnings.iter().map(|warning| warning.message.clone()).collect();
    assert_eq!(warnings, ["a comma is missing at the end of line 24; it is taken as if it stood there"]);
    assert_eq!((loaded.warnings[0].line, loaded.warnings[0].severity), (24, Severity::Warning));
    let ibma = loaded.value;
    assert_eq!(ibma.this_node, "ECIF");
    assert_eq!(ibma.min_compress_size, 16);
    assert_eq!((ibma.connecting.connecting_timeout, ibma.connecting.retry_connect_timeval), (10, 60));
    assert_eq!(ibma.registry.to_string(), "127.0.0.1:16001");
    let path = ibma.log.main.output.path(Path::new("/h"), 0, "");
    assert_eq!(path, Some("/h/log/ibma_ECIF_127.0.0.1:18111_main.log".into()));
}

#[test]
fn the_comma_may_be_missing_nowhere_else() {
    let text = std::fs::read_to_string(sample("ibma.conf")).unwrap();
    // Every other comma that ends a line.
    let commas: Vec<usize> =
        text.match_indices(',').map(|(at, _)| at).filter(|at| followed_by_entry(&text, *at)).collect();
    assert_eq!(commas.len(), 10);
    for at in commas {
        let broken = format!("{} {}", &text[..at], &text[at + 1..]);
        let error = IbmaSettings::read(Source::new("ibma.conf", &broken)).unwrap_err();
        let errors: Vec<_> =
            error.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{error}");
        assert_eq!(errors[0].message, "a comma is missing here");
        assert_eq!(errors[0].line as usize, text[..at].matches('\n').count() + 1);
    }
    // And here only at the end of the line.
    let one_line = text.replace("10 // 客户端连接(connect)服务端超时时间（单位：秒）\n", "10 ");
    assert_ne!(one_line, text);
    assert!(IbmaSettings::read(Source::new("ibma.conf", &one_line)).is_err());
}

/// Whether an entry follows the comma, so that it separates two.
fn followed_by_entry(text: &str, comma: usize) -> bool {
    let mut rest = text[comma + 1..].trim_start();
    while let Some(comment) = rest.strip_prefix("//") {
        rest = comment.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    rest.starts_with('"')
}

#[test]
fn ibas() {
    let loaded = IbasSettings::load(&sample("ibas.conf")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.warnings, []);
    let ibas = loaded.value;
    assert_eq!(ibas.server.to_string(), "158.1.0.56:18001");
    assert_eq!((ibas.pool.mode, ibas.pool.max_count), (Mode::StaticWorkerPool, 10));
    assert_eq!((ibas.pool.min_idle_count, ibas.pool.max_idle_count), (1, 5));
    assert_eq!((ibas.pool.create_interval, ibas.pool.destroy_interval), (1, 10));
    assert_eq!(ibas.pool.max_process_count, 10_000);
    assert!(ibas.security.sign && ibas.security.compress && ibas.security.encrypt);
    assert_eq!(ibas.max_so_cache_count, 1_000);
    assert_eq!(ibas.ibma_config_filename, Path::new("ibma.conf"));
    let home = Path::new("/h");
    let worker = ibas.log.worker.output.path(home, 7, "");
    assert_eq!(worker, Some("/h/log/ibas_158.1.0.56-18001_worker_7.log".into()));
    assert_eq!(ibas.log.app.output.path(home, 7, "pay"), Some("/h/log/app_pay.log".into()));
}

#[test]
fn the_defaults_are_the_published_values() {
    let ibas = IbasSettings::load(&sample("ibas.conf")).unwrap().value;
    let default = IbasSettings::default();
    assert_eq!(
        (ibas.pool, ibas.security, ibas.max_so_cache_count),
        (default.pool, default.security, default.max_so_cache_count)
    );
    let ibms = IbmsSettings::load(&sample("ibms.conf")).unwrap().value;
    assert_eq!((ibms.key_change, ibms.config), (Default::default(), Default::default()));
    let ibma = IbmaSettings::load(&sample("ibma.conf")).unwrap().value;
    let default = IbmaSettings::new("ECIF");
    assert_eq!((ibma.connecting, ibma.min_compress_size), (default.connecting, default.min_compress_size));
}

#[test]
fn the_printed_cluster_files_say_what_to_complete() {
    let files = ClusterFiles::in_directories(&sample("printed"), Path::new("/nonexistent"));
    let error = files.load().unwrap_err();
    let messages: Vec<String> =
        error.diagnostics.iter().map(|found| format!("{} {}", found.line, found.message)).collect();
    assert_eq!(
        messages,
        [
            "22 \"...\" stands for entries that were left out",
            "23 '}' stands where the bracket of line 3 has to be closed by ']'",
            "20 \"...\" stands for entries that were left out",
            "21 '}' stands where the bracket of line 3 has to be closed by ']'",
            "10 \"...\" stands for entries that were left out",
        ]
    );
}

#[test]
fn files_of_other_programs_have_the_same_form() {
    for name in ["logpipe_receive.conf", "logpipe_collect.conf"] {
        let text = std::fs::read_to_string(sample(name)).unwrap();
        let mut reader = Reader::new(Source::new(name, &text));
        let mut plugins = Vec::new();
        reader.map("file", |reader, key, _| match &*key {
            "inputs" | "outputs" => drop(reader.list(|reader| {
                reader.map("plugin", |reader, key, _| match &*key {
                    "plugin" => plugins.extend(reader.text()),
                    _ => reader.skip(),
                });
            })),
            _ => reader.skip(),
        });
        assert_eq!(reader.finish().unwrap_or_else(|error| panic!("{error}")), []);
        assert_eq!(plugins.len(), 2);
    }
}
