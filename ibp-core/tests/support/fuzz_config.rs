//! The bodies of the fuzz targets for configuration: any bytes as a text, any bytes as a compiled image.

use ibp_core::config::json::{Reader, Source};
use ibp_core::config::{
    ClusterTexts, ConfigError, Diagnostic, IbasSettings, IbmaSettings, IbmsSettings, Model, Severity,
    fuzz_image,
};

/// What a target does with its input.
pub type Body = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Body); 2] = [("config_text", config_text), ("config_image", config_image)];

/// Whatever a text holds, reading it ends, tells the same twice, and all that it tells has a place in the text.
pub fn config_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = Source::new("text", text);
    let told = read_as_everything(source);
    assert_eq!(told, read_as_everything(source));
    for diagnostic in &told {
        check_place(diagnostic, text);
    }
    // A secret text is told of by places only.
    let first_words = "key : \"0123456789abcdef\"";
    if text.contains(first_words) {
        let told = read_as_everything(source.secret());
        assert!(told.iter().all(|diagnostic| !diagnostic.to_string().contains("0123456789abcdef")));
    }
}

/// Decoding ends and takes no more memory than it should: the fuzzer watches both.
pub fn config_image(data: &[u8]) {
    fuzz_image(data);
}

fn read_as_everything(source: Source<'_>) -> Vec<Diagnostic> {
    let mut told = Vec::new();
    let mut settings = |result: Result<Vec<Diagnostic>, ConfigError>| match result {
        Ok(warnings) => {
            assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
            told.extend(warnings);
        }
        Err(error) => {
            assert!(error.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error));
            told.extend(error.diagnostics);
        }
    };
    settings(IbasSettings::read(source).map(|loaded| loaded.warnings));
    settings(IbmaSettings::read(source).map(|loaded| loaded.warnings));
    settings(IbmsSettings::read(source).map(|loaded| loaded.warnings));
    let empty = |list| Source::new("other", list);
    let (nodes, apps, projects) =
        (empty("{ \"nodes\" : [] }"), empty("{ \"apps\" : [] }"), empty("{ \"projects\" : [] }"));
    for texts in [
        ClusterTexts { nodes: source, apps, projects, keys: None },
        ClusterTexts { nodes, apps: source, projects, keys: None },
        ClusterTexts { nodes, apps, projects: source, keys: None },
        ClusterTexts { nodes, apps, projects, keys: Some(source) },
        ClusterTexts { nodes: source, apps: source, projects: source, keys: Some(source) },
    ] {
        settings(Model::read(&texts).map(|loaded| {
            for node in loaded.value.nodes() {
                assert!(loaded.value.view(&node.name).is_ok());
            }
            loaded.warnings
        }));
    }
    let mut reader = Reader::new(source);
    reader.skip();
    settings(reader.finish());
    told
}

fn check_place(diagnostic: &Diagnostic, text: &str) {
    let line = text.split('\n').nth(diagnostic.line as usize - 1).expect("the line is there");
    let columns = line.chars().count() + 1;
    assert!((1..=columns).contains(&(diagnostic.column as usize)), "{diagnostic}");
    assert!(
        diagnostic.to_string().chars().all(|shown| !shown.is_control() || shown == '\n' || shown == '\t')
    );
}
