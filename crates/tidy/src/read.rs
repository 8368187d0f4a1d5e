//! Reads the workspace as it lies on the disk: crates, what they use, and their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use cargo_metadata::{Metadata, MetadataCommand, PackageId};

pub use cargo_metadata::DependencyKind;

pub use crate::licences::Licensed;
pub use crate::reach::Graph;

/// Everything the rules look at.
#[derive(Debug)]
pub struct Workspace {
    /// The crates of the workspace, by name.
    pub crates: Vec<Crate>,
    /// What every package, also those from outside, uses in its ordinary code.
    pub graph: Graph,
    /// Every package, also those from outside, and its terms.
    pub licences: Vec<Licensed>,
}

/// A crate of the workspace.
#[derive(Debug, Clone)]
pub struct Crate {
    /// The package name, such as `aeroedge-log`.
    pub name: String,
    /// The text of its `Cargo.toml`.
    pub manifest: String,
    /// The text of its own `clippy.toml`, if it has one.
    pub clippy_settings: Option<String>,
    /// What it uses directly.
    pub dependencies: Vec<Dependency>,
    /// Its Rust and SQL files.
    pub files: Vec<SourceFile>,
}

/// One package that a crate uses directly.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// The package name.
    pub name: String,
    /// Whether ordinary code, tests or the build script use it.
    pub kind: DependencyKind,
}

/// One file of a crate.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Relative to the root of the repository, with forward slashes.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl SourceFile {
    /// Whether the name ends in `.` and this.
    pub(crate) fn is_kind(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }

    /// Whether this is an example, that is, an application of its own.
    pub(crate) fn is_example(&self) -> bool {
        self.path.contains("/examples/")
    }

    /// Whether this file is no part of what the crate delivers.
    pub(crate) fn serves_tests(&self) -> bool {
        self.is_example()
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("/tests.rs")
    }
}

/// The workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Cargo could not describe the workspace.
    #[error("run cargo metadata")]
    Metadata(#[from] cargo_metadata::Error),
    /// A file could not be read.
    #[error("read {path}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Reads the workspace whose root folder is `root`.
pub fn workspace(root: &Path) -> Result<Workspace, ReadError> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .exec()?;
    let mut crates = Vec::new();
    for package in metadata.workspace_packages() {
        let folder = package
            .manifest_path
            .parent()
            .unwrap_or(&package.manifest_path)
            .as_std_path();
        let mut files = Vec::new();
        collect_files(folder, root, &mut files)?;
        let clippy_settings = folder.join("clippy.toml");
        crates.push(Crate {
            name: package.name.to_string(),
            manifest: read_text(package.manifest_path.as_std_path())?,
            clippy_settings: clippy_settings
                .exists()
                .then(|| read_text(&clippy_settings))
                .transpose()?,
            dependencies: package
                .dependencies
                .iter()
                .map(|dependency| Dependency {
                    name: dependency.name.clone(),
                    kind: dependency.kind,
                })
                .collect(),
            files,
        });
    }
    crates.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Workspace {
        crates,
        graph: graph(&metadata),
        licences: metadata
            .packages
            .iter()
            .map(|package| Licensed {
                package: format!("{} {}", package.name, package.version),
                licence: package.license.clone(),
            })
            .collect(),
    })
}

/// The ordinary dependencies of every package by name; several versions of one package count as one.
fn graph(metadata: &Metadata) -> Graph {
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let mut graph = Graph::new();
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let used: BTreeSet<String> = node
            .deps
            .iter()
            .filter(|dependency| {
                dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
            })
            .filter_map(|dependency| names.get(&dependency.pkg))
            .map(ToString::to_string)
            .collect();
        if let Some(name) = names.get(&node.id) {
            graph.entry((*name).into()).or_default().extend(used);
        }
    }
    graph
}

/// Adds the Rust and SQL files below `folder`, in the order of their names.
fn collect_files(folder: &Path, root: &Path, files: &mut Vec<SourceFile>) -> Result<(), ReadError> {
    let failed = |source| ReadError::File {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !path.ends_with("target") {
                collect_files(&path, root, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|end| end == "rs" || end == "sql")
        {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            files.push(SourceFile {
                path: relative.to_string_lossy().replace('\\', "/"),
                text: read_text(&path)?,
            });
        }
    }
    Ok(())
}

fn read_text(path: &Path) -> Result<String, ReadError> {
    fs::read_to_string(path).map_err(|source| ReadError::File {
        path: path.to_owned(),
        source,
    })
}
