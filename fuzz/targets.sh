# shellcheck shell=bash
# Sourced from the repository's root by what goes through all fuzz targets: their names, and what each takes.

# shellcheck disable=SC2034 # used by those that source it
fuzz_targets=(log segment manifest payload pages inputs operations repair search)

# fuzz_limits TARGET: its longest input and its dictionary in fuzz/dictionaries, if any. tests/torture/src/mutate.rs has the same lengths.
fuzz_limits() {
    case $1 in
    log) echo 1024 formats ;;
    segment) echo 2048 formats ;;
    manifest) echo 8192 formats ;;
    payload | pages) echo 512 formats ;;
    inputs) echo 512 inputs ;;
    operations) echo 96 ;;
    repair) echo 33 ;;
    search) echo 200 ;;
    *) echo "no target $1" >&2 && return 2 ;;
    esac
}
