//! What the scripts tell the compiler of the checkout that is built.

use std::path::Path;
use std::process::Command;

/// What the build is told in a directory.
fn built_from(directory: &Path) -> String {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("scripts/platforms.sh");
    let mut command = Command::new("bash");
    command.args(["-euc", ". \"$0\"; root=$1; built_from"]).arg(scripts).arg(directory);
    // A directory of tests may lie in somebody's checkout.
    let output = command.env("GIT_CEILING_DIRECTORIES", directory.parent().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn git(directory: &Path, line: &str) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(["-c", "user.name=n", "-c", "user.email=n@example.org"]);
    let output = command.args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "git {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_program_is_told_its_commit_and_branch_or_tag_and_without_git_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("checkout");
    std::fs::create_dir(&root).unwrap();
    assert_eq!(built_from(&root), "", "then it says \"unknown\"");
    git(&root, "init --quiet --initial-branch=main");
    std::fs::write(root.join("file"), "one").unwrap();
    git(&root, "add file");
    git(&root, "commit --quiet --message one");
    let commit = git(&root, "rev-parse --short=12 HEAD");
    assert_eq!(built_from(&root), format!("FERROLB_COMMIT={commit}\nFERROLB_BRANCH=main\n"));
    git(&root, "tag v1.2.3");
    assert_eq!(built_from(&root), format!("FERROLB_COMMIT={commit}\nFERROLB_BRANCH=v1.2.3\n"));
    std::fs::write(root.join("file"), "two").unwrap();
    assert!(built_from(&root).starts_with(&format!("FERROLB_COMMIT={commit}-dirty\n")));
}
