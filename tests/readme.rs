//! What the README shows must run as it stands there.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails its test")]
#![allow(clippy::disallowed_methods, reason = "tests look at files")]

mod example {
    include!("readme/example.rs");

    pub(super) fn run() {
        main().unwrap();
    }
}

const README: &str = include_str!("../README.md");

/// The lines of the fenced block that begins so.
fn block(fence: &str, first: &str) -> &'static str {
    let blocks = README.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.filter(|(info, _)| *info == fence).map(|(_, text)| text).find(|text| text.starts_with(first)).unwrap()
}

/// The only test that may change the working directory.
#[test]
fn the_example_runs_and_runs_again() {
    assert_eq!(
        block("rust,no_run", "use varvite"),
        include_str!("readme/example.rs"),
        "tests/readme/example.rs is not what README.md shows"
    );
    let scratch = tempfile::tempdir().unwrap();
    std::env::set_current_dir(scratch.path()).unwrap();
    example::run();
    example::run();
    assert!(scratch.path().join("library").is_dir());
    std::env::set_current_dir("/").unwrap();
}

#[test]
#[cfg(feature = "cli")]
fn the_tour_of_the_program_runs_in_the_checkout() {
    let scratch = tempfile::tempdir().unwrap();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for line in block("sh", "varvite create").lines() {
        let command = line.split('#').next().unwrap().replace("examples/", &format!("{}/", examples.display()));
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_varvite"))
            .args(command.split_whitespace().skip(1))
            .current_dir(scratch.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
