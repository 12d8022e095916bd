# shellcheck shell=bash
# Sourced by .ci/run and .ci/full: runs steps, times them, keeps their output, and hides no failure.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The one test command; the README states the same, and the step `readme` compares them.
test_command="cargo test --all-features"

export CARGO_TERM_COLOR=never
# Everything is built once: what would make a second build faster makes the first slower. A panic names its line without debug information.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=none
logs="${CARGO_TARGET_DIR:-target}/ci"
mkdir -p "$logs"
started=$SECONDS
passed=0
failed=()
skipped=()
# Not 77, which is how libFuzzer reports a crash.
skip_status=99

# A step that cannot run here calls this with the reason; it is counted apart and named at the end.
skip() {
    printf 'SKIPPED: %s\n' "$*"
    exit "$skip_status"
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# step NAME COMMAND [ARGUMENT...]: runs it in a shell of its own that stops at the first error, with its output in a file.
step() {
    local name=$1 begin=$SECONDS status log
    log="$logs/$name.log"
    shift
    # Not as a condition of `if`: bash ignores `set -e` inside those.
    set +e
    (
        set -euo pipefail
        "$@"
    ) >"$log" 2>&1
    status=$?
    set -e
    case $status in
    0)
        passed=$((passed + 1))
        printf 'ok       %-18s %4d s\n' "$name" $((SECONDS - begin))
        ;;
    "$skip_status")
        skipped+=("$name")
        printf 'SKIPPED  %-18s %4d s  %s\n' "$name" $((SECONDS - begin)) "$(sed -n 's/^SKIPPED: //p' "$log" | tail -n 1)"
        ;;
    *)
        failed+=("$name")
        printf 'FAILED   %-18s %4d s  (exit %d; the end of %s:)\n' "$name" $((SECONDS - begin)) "$status" "$log"
        tail -n 60 "$log" | sed 's/^/    /'
        ;;
    esac
    return 0
}

summary() {
    printf '%s: %d passed, %d failed, %d skipped, %d s' "$1" "$passed" "${#failed[@]}" "${#skipped[@]}" $((SECONDS - started))
    [ ${#failed[@]} -eq 0 ] || printf '; failed: %s' "${failed[*]}"
    [ ${#skipped[@]} -eq 0 ] || printf '; skipped: %s' "${skipped[*]}"
    printf '\n'
    [ ${#failed[@]} -eq 0 ]
}

# What the steps need beyond Rust, for a bare machine.
tools() {
    rustc --version
    cargo --version
    cargo fmt --version || rustup component add rustfmt
    cargo clippy --version || rustup component add clippy
    python3 --version
    if ! python3 -c 'import numpy' 2>/dev/null; then
        python3 -m pip install numpy || python3 -m pip install --user --break-system-packages numpy
    fi
    python3 -c 'import numpy; print("numpy", numpy.__version__)'
    # tests/syncs.rs counts system calls with strace, and torture cuts the power of XFS too; both say so where that is missing.
    local packages=()
    has strace || packages+=(strace)
    has mkfs.xfs || packages+=(xfsprogs)
    if [ ${#packages[@]} -gt 0 ] && has apt-get && [ "$(id -u)" -eq 0 ]; then
        apt-get install -y "${packages[@]}" || { apt-get update && apt-get install -y "${packages[@]}"; } || true
    fi
    strace --version 2>/dev/null | head -n 1 || echo "no strace: tests/syncs.rs will count less"
    mkfs.xfs -V 2>/dev/null || echo "no mkfs.xfs: torture will count less"
}

readme() {
    # As a line of its own in a code block, so that a longer command does not pass for it.
    grep -qxF "$test_command" README.md || {
        echo "README.md does not state the test command as a line of its own: $test_command"
        return 1
    }
    local msrv
    msrv=$(rust_version)
    grep -qF "Rust $msrv" README.md || {
        echo "README.md does not state the Rust version of Cargo.toml: Rust $msrv"
        return 1
    }
}

rust_version() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml
}

msrv() {
    local wanted
    wanted=$(rust_version)
    [ -n "$wanted" ] || {
        echo "Cargo.toml states no rust-version"
        return 1
    }
    case "$(rustc --version)" in
    "rustc $wanted."*) echo "the default toolchain is Rust $wanted: every other step is this check" ;;
    *)
        has rustup || skip "no rustup to get Rust $wanted with"
        rustup toolchain list | grep -q "^$wanted" || rustup toolchain install "$wanted" --profile minimal ||
            skip "Rust $wanted is not installed and cannot be fetched"
        cargo "+$wanted" check --all-features --target-dir "$logs/msrv"
        ;;
    esac
}

run_tests() {
    $test_command
}

format() {
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    cargo fmt --manifest-path benches/peers/Cargo.toml --check
}

lint() {
    cargo clippy --workspace --all-targets --all-features -- -D warnings
}

# Each feature builds alone, and so does none: warnings too are errors, for code that only another feature uses. Given to our crate only, so that
# the dependencies are those of the step `lint`.
features() {
    local feature features
    mapfile -t features < <(sed -n '/^\[features\]/,/^\[dep/s/^\([a-z_-]*\) *= \[.*/\1/p' Cargo.toml)
    [ ${#features[@]} -gt 0 ]
    cargo rustc --lib --profile check --no-default-features -- -D warnings
    for feature in "${features[@]}"; do
        echo "feature $feature"
        cargo rustc --lib --profile check --no-default-features --features "$feature" -- -D warnings
    done
    cargo rustc --bin varvite --profile check --no-default-features --features cli -- -D warnings
}

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
}

dependency_count() {
    local crates
    crates=$(cargo tree -e normal --prefix none | sed 's/ (\*)$//' | sort -u)
    printf '%s\n%d crates, varvite among them; at most 25\n' "$crates" "$(wc -l <<<"$crates")"
    [ "$(wc -l <<<"$crates")" -le 25 ]
}

# What `cargo publish --dry-run` does, also without a network: the packaged crate builds on its own. It is not run, so it need not be fast.
packaging() {
    export CARGO_PROFILE_DEV_OPT_LEVEL=0
    cargo package --allow-dirty || cargo package --allow-dirty --offline
}

# The program that the tests have built: to cargo, one without their dependencies would be another.
demo() {
    local directory
    directory=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -rf '$directory'" EXIT
    "${CARGO_TARGET_DIR:-target}/debug/varvite" demo "$directory/demo"
}

scripts() {
    local script scripts=(.ci/run .ci/full .ci/steps.sh fuzz/campaign fuzz/coverage fuzz/targets.sh fuzz/oss-fuzz/build.sh benches/peers/run benches/instructions/run)
    for script in "${scripts[@]}"; do bash -n "$script"; done
    has shellcheck || skip "no shellcheck; bash itself accepts the scripts"
    shellcheck -x "${scripts[@]}"
}

bans() {
    has cargo-deny || skip "no cargo-deny"
    cargo deny --offline check bans licenses sources
}

# torture LAYER [OPTION] BUDGET: a small seeded budget, of a build that costs less than it would find; campaigns are run by hand:
# docs/reliability.md.
torture() {
    local said budget=${!#}
    said=$(cargo run -p varvite-torture -- "${@:1:$#-1}" --seed 1 --budget "${TORTURE_BUDGET:-$budget}" --json) || {
        # What was found, and how to see it again.
        printf '%s\n' "$said"
        return 1
    }
    printf '%s\n' "$said"
    case $said in SKIPPED:*) skip "${said#SKIPPED: }" ;; esac
}

# Built apart with everything below, as the next: every lock is one of the model checker. To optimise what is below costs more than it gains.
quick_build=(--config 'profile.dev.package."*".opt-level=0')

loom_models() {
    RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test "${quick_build[@]}" -p varvite-models --target-dir "$logs/loom" -- --nocapture
}

# loom's small stacks are too small for code that is not optimised at all; shuttle's are not.
torture_schedules() {
    RUSTFLAGS="--cfg shuttle" cargo run "${quick_build[@]}" --config profile.dev.opt-level=0 -p varvite-torture --target-dir "$logs/shuttle" -- \
        schedules --seed 1 --budget "${TORTURE_BUDGET:-10s}" --json
}

# fuzz SECONDS: so long with each target, with AddressSanitizer. New inputs stay out of the repository.
fuzz() {
    has rustup || skip "no rustup to find a nightly toolchain with"
    rustup toolchain list | grep -q '^nightly' || skip "no nightly toolchain"
    cargo fuzz --version || timeout 300 cargo install cargo-fuzz --locked --debug || skip "cargo-fuzz is not installed and did not build in 300 s"
    if [ "$1" -lt 10 ]; then
        # To build is nearly all of it. cargo-fuzz compiles each crate by one thread; the flag that is given last counts.
        export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 RUSTFLAGS="-Ccodegen-units=8"
    fi
    SEED=1 SANITIZER=address bash fuzz/campaign "$1"
}

# quick_steps RUNNER: everything but fuzzing, each by RUNNER NAME COMMAND.
quick_steps() {
    local run=$1
    "$run" tools tools
    "$run" readme readme
    "$run" scripts scripts
    "$run" format format
    "$run" lint lint
    "$run" tests run_tests
    "$run" features features
    "$run" msrv msrv
    "$run" documentation documentation
    "$run" dependency-count dependency_count
    "$run" bans bans
    "$run" packaging packaging
    "$run" demo demo
    "$run" torture-crash torture crash 15s
    "$run" torture-faults torture faults 15s
    "$run" torture-preload torture faults --preload 10s
    "$run" torture-corrupt torture corrupt 15s
    "$run" torture-kill torture kill 10s
    "$run" torture-powercut torture powercut 10s
    "$run" torture-device torture device 12s
    "$run" torture-mutate torture mutate operations 5s
    "$run" torture-schedules torture_schedules
    "$run" loom loom_models
}
