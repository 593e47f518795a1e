//! Loading a cluster's configuration from disk, and compiling it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::read::{TextFile, open_text, read_secret_text};
use super::{ClusterFiles, ClusterTexts, Draft, Loaded, keys};
use crate::config::image::{self, Entries, Image, Kind, Unusable};
use crate::config::json::Source;
use crate::config::{ConfigError, Diagnostic, Model};

impl ClusterFiles {
    /// Reads the files from disk. Where a compiled image (`X.conf.bin` beside `X.conf`) belongs to the present content of
    /// its text, the image is read instead of the text.
    ///
    /// # Errors
    /// Everything that is wrong with any of the texts: a file that cannot be read, that is not UTF-8, whose form is
    /// wrong or whose entries break a [`Rule`](crate::config::Rule); a file of keys that others than its owner can read.
    /// An image that cannot be used is a warning.
    pub fn load(&self) -> Result<Loaded<Model>, ConfigError> {
        let mut warnings = Vec::new();
        let from_images = self.load_images(&mut warnings);
        // Whatever is wrong is told by its place in the texts.
        let mut loaded = match from_images {
            Some(model) => Loaded { value: model, warnings: Vec::new() },
            None => self.load_texts()?,
        };
        warnings.append(&mut loaded.warnings);
        Ok(Loaded { warnings, ..loaded })
    }

    /// Reads the texts from disk, and no compiled image.
    ///
    /// # Errors
    /// As [`load`](ClusterFiles::load).
    pub fn load_texts(&self) -> Result<Loaded<Model>, ConfigError> {
        Ok(self.read_texts()?.0)
    }

    /// Writes a compiled image beside each text (there is none of the keys), and returns the paths of the images.
    ///
    /// # Errors
    /// As [`load`](ClusterFiles::load), or a file that cannot be written.
    pub fn compile(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let (Loaded { value: model, .. }, texts) = self.read_texts()?;
        let entries =
            [Entries::Nodes(model.nodes()), Entries::Apps(model.apps()), Entries::Projects(model.projects())];
        let mut written = Vec::new();
        for ((text, path), entries) in texts.iter().zip(self.texts()).zip(entries) {
            let image =
                image::write(path, &text.text, text.stamp, entries, SystemTime::now()).map_err(|error| {
                    let name = image::path_of(path).display().to_string();
                    ConfigError::of(Diagnostic::of_file(name, format!("cannot be written: {error}")))
                })?;
            written.push(image);
        }
        Ok(written)
    }

    /// The model, if there is an image for at least one text and everything is right.
    fn load_images(&self, warnings: &mut Vec<Diagnostic>) -> Option<Model> {
        let kinds = [Kind::Nodes, Kind::Apps, Kind::Projects];
        let mut images = Vec::new();
        for (path, kind) in self.texts().into_iter().zip(kinds) {
            let image = usable_image(path, kind);
            images.push(image.unwrap_or_else(|error| {
                let name = image::path_of(path).display().to_string();
                let hint = "build it again, or remove it";
                warnings.push(
                    Diagnostic::of_file(name, format!("ignored: {error}")).with_hint(hint).as_warning(),
                );
                None
            }));
        }
        if images.iter().all(Option::is_none) {
            return None;
        }
        let mut draft = Draft::default();
        for ((path, kind), image) in self.texts().into_iter().zip(kinds).zip(images) {
            match image {
                Some(image) => image.decode(kind, &mut draft).ok()?,
                None => read_into(path, kind, &mut draft)?,
            }
        }
        let keys = read_secret_text(&self.keys).ok()?;
        if let Some(text) = keys.filter(|text| !text.is_empty()) {
            let found = keys::read(Source::new("", &text).secret(), &mut draft);
            if super::has_errors(&found) {
                return None;
            }
        }
        draft.build().ok()
    }

    fn read_texts(&self) -> Result<(Loaded<Model>, Vec<ReadText>), ConfigError> {
        let mut unreadable = Vec::new();
        let mut texts = Vec::new();
        for path in self.texts() {
            match open_text(path).and_then(ReadText::of) {
                Ok(text) => texts.push(text),
                Err(error) => unreadable.extend(error.diagnostics),
            }
        }
        let keys = read_secret_text(&self.keys).unwrap_or_else(|error| {
            unreadable.extend(error.diagnostics);
            None
        });
        let ([nodes, apps, projects], []) = (&texts[..], &unreadable[..]) else {
            return Err(ConfigError { diagnostics: unreadable });
        };
        let [nodes_name, apps_name, projects_name] = self.texts().map(|path| path.display().to_string());
        let keys_name = self.keys.display().to_string();
        let model = Model::read(&ClusterTexts {
            nodes: Source::new(&nodes_name, &nodes.text),
            apps: Source::new(&apps_name, &apps.text),
            projects: Source::new(&projects_name, &projects.text),
            keys: keys.as_deref().filter(|keys| !keys.is_empty()).map(|keys| Source::new(&keys_name, keys)),
        })?;
        Ok((model, texts))
    }

    /// The files that can be compiled.
    fn texts(&self) -> [&Path; 3] {
        [&self.nodes, &self.apps, &self.projects]
    }
}

struct ReadText {
    text: String,
    stamp: image::Stamp,
}

impl ReadText {
    fn of(file: TextFile<'_>) -> Result<ReadText, ConfigError> {
        Ok(ReadText { text: file.read()?, stamp: file.stamp })
    }
}

/// The image of a text, if there is one and it belongs to the text's present content.
fn usable_image(path: &Path, kind: Kind) -> Result<Option<Image>, Unusable> {
    let Some(image) = Image::read(&image::path_of(path), kind)? else { return Ok(None) };
    // A text that cannot be read is reported by whoever reads the texts.
    let Ok(file) = open_text(path) else { return Ok(None) };
    if image.belongs_to(&file.stamp) || file.read().is_ok_and(|text| image.is_made_from(&text)) {
        Ok(Some(image))
    } else {
        Err(Unusable::Stale)
    }
}

/// Reads one text into a draft; `None` if something is wrong with it.
fn read_into(path: &Path, kind: Kind, draft: &mut Draft) -> Option<()> {
    let text = open_text(path).and_then(|file| file.read()).ok()?;
    let source = Source::new("", &text);
    let found = match kind {
        Kind::Nodes => super::nodes::read(source, draft),
        Kind::Apps => super::apps::read(source, draft),
        Kind::Projects => super::projects::read(source, draft),
    };
    (!super::has_errors(&found)).then_some(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::config::Node;

    const TEXT: &str = r#"{ "nodes" : [ { "node" : "ECIF" } ] }"#;

    struct Case {
        directory: tempfile::TempDir,
        text: PathBuf,
    }

    impl Case {
        /// A text and an image of it that says "IMAGE" where the text says "ECIF".
        fn new(made_from: &str, now: SystemTime) -> Case {
            let directory = tempfile::tempdir().unwrap();
            let text = directory.path().join("ibp_nodes.conf");
            fs::write(&text, TEXT).unwrap();
            let stamp = open_text(&text).ok().unwrap().stamp;
            let nodes = [Node::new("IMAGE")];
            image::write(&text, made_from, stamp, Entries::Nodes(&nodes), now).unwrap();
            Case { directory, text }
        }

        fn image(&self) -> String {
            match usable_image(&self.text, Kind::Nodes) {
                Ok(Some(_)) => "used".to_owned(),
                Ok(None) => "none".to_owned(),
                Err(error) => error.to_string(),
            }
        }

        /// What a whole cluster with these nodes reads.
        fn load(&self) -> (String, Vec<String>) {
            fs::write(self.directory.path().join("ibp_apps.conf"), r#"{ "apps" : [] }"#).unwrap();
            fs::write(self.directory.path().join("ibp_projects.conf"), r#"{ "projects" : [] }"#).unwrap();
            let files = ClusterFiles::in_directories(self.directory.path(), self.directory.path());
            let loaded = files.load().unwrap();
            let warnings = loaded.warnings.iter().map(|warning| warning.message.clone()).collect();
            (loaded.value.nodes()[0].name.to_string(), warnings)
        }
    }

    fn much_later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(3600)
    }

    #[test]
    fn an_unchanged_text_is_not_read() {
        // The digest is of another text: if anyone compared it, the image would be stale.
        let case = Case::new("not read", much_later());
        assert_eq!(case.load(), ("IMAGE".to_owned(), vec![]));
    }

    #[test]
    fn a_text_changed_just_before_goes_by_its_digest() {
        assert_eq!(Case::new(TEXT, SystemTime::now()).image(), "used");
        assert_eq!(Case::new("other", SystemTime::now()).image(), Unusable::Stale.to_string());
    }

    #[test]
    fn a_touched_or_replaced_text_with_the_same_content_keeps_its_image() {
        let case = Case::new(TEXT, much_later());
        let file = fs::OpenOptions::new().append(true).open(&case.text).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(case.image(), "used");

        let copy = case.directory.path().join("copy");
        fs::copy(&case.text, &copy).unwrap();
        fs::rename(&copy, &case.text).unwrap();
        assert_eq!(case.image(), "used");
    }

    #[test]
    fn a_changed_text_of_the_same_size_and_time_is_read() {
        let case = Case::new(TEXT, much_later());
        let modified = fs::metadata(&case.text).unwrap().modified().unwrap();
        fs::write(&case.text, TEXT.replace("ECIF", "CORE")).unwrap();
        fs::OpenOptions::new().append(true).open(&case.text).unwrap().set_modified(modified).unwrap();
        let warning = "ignored: it was made from another content of the text".to_owned();
        assert_eq!(case.load(), ("CORE".to_owned(), vec![warning]));
    }

    #[test]
    fn a_damaged_image_is_ignored() {
        let case = Case::new(TEXT, much_later());
        let path = image::path_of(&case.text);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(
            case.load(),
            ("ECIF".to_owned(), vec!["ignored: it is damaged: its checksum is wrong".to_owned()])
        );
        fs::write(&path, "").unwrap();
        assert_eq!(case.image(), "it is not a compiled image");
        fs::remove_file(&path).unwrap();
        assert_eq!(case.image(), "none");
    }

    #[test]
    fn compiling_goes_by_the_texts_and_loading_gives_the_same() {
        let case = Case::new(TEXT, much_later());
        case.load();
        let files = ClusterFiles::in_directories(case.directory.path(), case.directory.path());
        let written = files.compile().unwrap();
        assert_eq!(written.len(), 3);
        assert_eq!(files.load().unwrap(), files.load_texts().unwrap());
        assert_eq!(case.image(), "used");
        assert_eq!(case.load().0, "ECIF");
    }

    #[test]
    fn a_mistake_in_another_file_is_told_by_the_texts() {
        let case = Case::new(TEXT, much_later());
        case.load();
        let files = ClusterFiles::in_directories(case.directory.path(), case.directory.path());
        files.compile().unwrap();
        fs::write(&files.projects, r#"{ "projects" : [ { "project" : "p" , "apps" : "gone" } ] }"#).unwrap();
        let error = files.load().unwrap_err();
        assert_eq!((error.diagnostics.len(), error.diagnostics[0].column), (1, 48), "{error}");
    }
}
