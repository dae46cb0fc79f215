//! What a directory of manifests must give, whatever is put into it.

use std::fs;
use std::path::{Path, PathBuf};

use ferrolb_rules::reason::{Code, Finding, Severity};

use super::{Loader, Parsed, parse};
use crate::source::Loaded;

mod half;
mod hostile;
mod loading;
mod parsing;
mod watching;

/// A pool that is right.
const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec:
  addresses: [192.168.1.240/28]
";

/// A Service that is right.
const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  ports:
  - {port: 80, targetPort: http}
";

fn read(text: &str) -> Parsed {
    parse("file.yaml", text.as_bytes(), "metallb-system")
}

/// A directory of manifests and a place for the last good content.
struct Scene {
    scratch: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { scratch: tempfile::tempdir().unwrap() };
        fs::create_dir(scene.directory()).unwrap();
        scene
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path().join("manifests")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn cache(&self) -> PathBuf {
        self.scratch.path().join("state").join("manifests.json")
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn loader(&self) -> Loader {
        Loader::new(self.directory(), "metallb-system".to_owned(), Some(self.cache()))
    }

    fn load(&self) -> Loaded {
        self.loader().load()
    }
}

fn pools(loaded: &Loaded) -> Vec<&str> {
    loaded.objects.pools.iter().map(|pool| pool.metadata.name.as_deref().unwrap()).collect()
}

fn codes(findings: &[Finding]) -> Vec<(Code, Severity)> {
    findings.iter().map(|finding| (finding.code, finding.severity)).collect()
}

fn pool(name: &str) -> String {
    POOL.replace("name: pool", &format!("name: {name}"))
}

fn link(target: impl AsRef<Path>, at: impl AsRef<Path>) {
    std::os::unix::fs::symlink(target, at).unwrap();
}
