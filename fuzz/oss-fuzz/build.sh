#!/usr/bin/env bash
# Run by OSS-Fuzz's `compile`, which sets SRC, OUT and the flags of its engine and sanitizer: builds all targets into $OUT, each with its seeds, dictionary
# and options.
set -euo pipefail

cd "$SRC/varvite"
# shellcheck source=fuzz/targets.sh
source fuzz/targets.sh

# Nothing here is compiled from C or C++ but libFuzzer's shim, which takes CFLAGS and CXXFLAGS from the environment, as rustc does RUSTFLAGS.
cargo fuzz build -O --debug-assertions
# CARGO_TARGET_DIR rather than --target-dir: the service's wrapper of cargo, which builds for coverage, knows no options.
built=${CARGO_TARGET_DIR:-fuzz/target}/$(rustc -vV | sed -n 's/^host: //p')/release

for target in "${fuzz_targets[@]}"; do
    read -r len_max dictionary < <(fuzz_limits "$target")
    cp "$built/$target" "$OUT/"
    rm -f "$OUT/${target}_seed_corpus.zip"
    zip -qjr "$OUT/${target}_seed_corpus.zip" "fuzz/corpus/$target"
    printf '[libfuzzer]\nmax_len = %d\n' "$len_max" >"$OUT/$target.options"
    if [ -n "$dictionary" ]; then
        cp "fuzz/dictionaries/$dictionary.dict" "$OUT/$target.dict"
        printf 'dict = %s.dict\n' "$target" >>"$OUT/$target.options"
    fi
done
