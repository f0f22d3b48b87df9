//! Every config under `examples/` loads, and everything it needs is there.

mod support;

use std::path::Path;
use std::process::Command;

use support::place::said;

#[test]
fn every_example_passes_the_check() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&examples).expect("examples/").flatten().filter(|entry| entry.path().join("adce.yaml").exists()) {
        let output = Command::new(env!("CARGO_BIN_EXE_adce"))
            .args(["check"])
            .current_dir(entry.path())
            .env("NO_COLOR", "1")
            .env("CRM_TOKEN", "a-token")
            .output()
            .expect("adce runs");
        said(output).ends_with(0);
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} examples");
}
