//! What of a repository was not taken in although somebody means it: files that were named and have no object, and what
//! Kustomize would change. A linter has nothing to say about it; whoever asks what the files come to must hear of it.

use std::collections::BTreeSet;

use ferrolb_rules::reason::{Code, Finding, Location, Severity};

use super::super::object::Kind;
use super::super::tree::Place;
use super::gitops::{Change, GitOps};
use super::{Document, Written};

/// Everything that is left out, in order of the files.
pub(super) fn left_out(files: &[Written], documents: &[Document], gitops: &GitOps, said: &[Finding]) -> Vec<Finding> {
    let mut found: Vec<Finding> = files
        .iter()
        .enumerate()
        .filter(|(file, written)| {
            let has_object = documents.iter().any(|document| document.file == *file && document.kind().is_some());
            let is_said =
                said.iter().any(|finding| finding.location.as_ref().is_some_and(|at| at.file == written.name));
            written.named && !has_object && !is_said
        })
        .map(|(_, written)| without_object(&written.name))
        .collect();
    let mut told = BTreeSet::new();
    let changes = gitops.changes.iter().filter(|change| concerns_us(change, files, documents));
    found.extend(changes.filter(|change| told.insert(&change.at.0)).map(|change| unapplied(change, "plan -f -")));
    found
}

/// What Kustomize would change of our own kinds, which even a linter should not pass over.
pub(super) fn changes_of_ours(files: &[Written], documents: &[Document], gitops: &GitOps) -> Vec<Finding> {
    let is_ours = |change: &&Change| {
        let kind = kind_of(change, files, documents);
        kind.is_some_and(|kind| Kind::ALL.iter().any(|known| known.is_ours() && known.name() == kind))
    };
    let mut told = BTreeSet::new();
    let changes = gitops.changes.iter().filter(is_ours).filter(|change| told.insert(&change.at.0));
    changes.map(|change| unapplied(change, "lint -")).collect()
}

fn without_object(file: &str) -> Finding {
    let message = "there is no Kubernetes object in it: nothing here has apiVersion and kind";
    Finding::new(Code::ManifestInvalid, Severity::Error, file, message)
        .with_fix("name the file that is meant; a chart is rendered first: `helm template … | ferrolb plan -f -`")
        .at(at(file, Place { line: 1, column: 1 }))
}

/// The kind that a change is to, where it can be told.
fn kind_of<'a>(change: &'a Change, files: &[Written], documents: &'a [Document]) -> Option<&'a str> {
    let in_file = |name: &String| {
        let file = files.iter().position(|written| written.name == *name)?;
        documents.iter().find(|document| document.file == file).and_then(Document::kind)
    };
    change.kind.as_deref().or_else(|| change.file.as_ref().and_then(in_file))
}

/// Whether a change may be to one of the kinds that are looked at here.
fn concerns_us(change: &Change, files: &[Written], documents: &[Document]) -> bool {
    kind_of(change, files, documents).is_none_or(|kind| Kind::ALL.iter().any(|known| known.name() == kind))
}

fn unapplied(change: &Change, verb: &str) -> Finding {
    let (file, place) = &change.at;
    let directory = file.rsplit_once('/').map_or(".", |(directory, _)| directory);
    let message = "what this Kustomization changes (patches, components) is not applied here, and so not seen";
    Finding::new(Code::NotYet, Severity::Warning, file.as_str(), message)
        .with_fix(format!("kustomize build {directory} | ferrolb {verb}"))
        .at(at(file, *place))
}

fn at(file: &str, place: Place) -> Location {
    Location { file: file.to_owned(), line: place.line, column: place.column }
}
