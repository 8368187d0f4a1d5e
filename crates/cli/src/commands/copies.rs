//! `aeroedge export` and `aeroedge restore`.

use aeroedge_app::copies::{self, Manifest};
use aeroedge_app::keys::KeyFile;
use serde::Serialize;

use super::Bench;
use crate::arguments::{ExportArguments, RestoreArguments};
use crate::desk;
use crate::failure::Failure;
use crate::output::count;
use crate::secrets;

pub(super) fn export(arguments: &ExportArguments, bench: &Bench) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Exported {
        file: String,
        manifest_file: String,
        with_keys: bool,
        manifest: Manifest,
    }
    let mut office = bench.open()?;
    let passphrase = match (&arguments.key_passphrase_file, arguments.with_keys) {
        (Some(path), _) => Some(secrets::from_file(path)?),
        (None, true) => Some(secrets::choose(
            "New passphrase for the exported keys",
            "give it with --key-passphrase-file",
        )?),
        (None, false) => None,
    };
    let bar = bench.output.bar("pages copied", 0);
    let outcome = copies::export(
        &mut office.installation,
        &arguments.file,
        passphrase.as_ref().map(|text| text.as_str()),
        desk::now(),
        &mut |copied, total| {
            bar.set_length(total);
            bar.set_position(copied);
        },
    );
    bar.finish_and_clear();
    let mut manifest = outcome?;
    let with_keys = manifest.sealed_keys.take().is_some();
    let exported = Exported {
        file: arguments.file.display().to_string(),
        manifest_file: copies::manifest_path(&arguments.file).display().to_string(),
        with_keys,
        manifest,
    };
    bench.output.result(&exported, |exported| {
        let flights = exported
            .manifest
            .contexts
            .iter()
            .map(|context| context.flights)
            .sum();
        format!(
            "exported {} of {} groups to {}\nthe manifest is {}; {}",
            count(flights, "flight"),
            exported.manifest.contexts.len(),
            exported.file,
            exported.manifest_file,
            if exported.with_keys {
                "it holds this device's keys, sealed by the passphrase"
            } else {
                "keys are not in it"
            }
        )
    })
}

pub(super) fn restore(arguments: &RestoreArguments, bench: &Bench) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Restored {
        folder: String,
        device: String,
        exported_at_ms: u64,
        contexts: usize,
    }
    let target = bench.path()?;
    let manifest = copies::check(&arguments.file)?;
    let sealed = match &arguments.key_file {
        Some(path) => KeyFile::read(path)?.is_sealed(),
        None => manifest.sealed_keys.is_some(),
    };
    let passphrase = match (&arguments.key_passphrase_file, sealed) {
        (Some(path), _) => Some(secrets::from_file(path)?),
        (None, true) => Some(secrets::ask(
            "Passphrase of the exported keys: ",
            "give it with --key-passphrase-file",
        )?),
        (None, false) => None,
    };
    let (manifest, installation) = copies::restore(
        &arguments.file,
        arguments.key_file.as_deref(),
        passphrase.as_ref().map(|text| text.as_str()),
        &target,
        desk::now(),
    )?;
    let restored = Restored {
        folder: target.display().to_string(),
        device: installation.device.key().to_string(),
        exported_at_ms: manifest.exported_at_ms,
        contexts: manifest.contexts.len(),
    };
    bench.output.result(&restored, |restored| {
        format!(
            "restored {} groups into {}\nit goes on under a writer of its own; do not use the old installation of this device any more",
            restored.contexts, restored.folder
        )
    })
}
