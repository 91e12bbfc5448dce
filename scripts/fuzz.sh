#!/usr/bin/env bash
# Fuzz one native decoder for as long as you like, guided by coverage: libFuzzer, on stable Rust.
#
#     scripts/fuzz.sh log::log_scan [-max_total_time=600] [-jobs=4] [any other option of libFuzzer]
#
# `scripts/fuzz.sh` alone lists the targets. What it learns stays under engram/native/target/fuzz-corpus, an input that
# breaks something under engram/native/target/fuzz-crashes, and its seed and shrunken recipe are printed.
set -euo pipefail
cd "$(dirname "$0")/../engram/native"

if [ $# -eq 0 ]; then
  exec cargo test --quiet --test fuzz -- --list
fi
target=$1
shift

coverage="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  coverage+=" -Cllvm-args=-sanitizer-coverage-$option"
done
host=$(rustc -vV | sed -n 's/^host: //p')
export BOLERO_FUZZER=libfuzzer
RUSTFLAGS="--cfg fuzzing --cfg fuzzing_libfuzzer $coverage ${RUSTFLAGS:-}" \
  cargo test --quiet --target "$host" --target-dir "${FUZZ_TARGET_DIR:-target/fuzz}" --profile fuzz --test fuzz --no-run

corpus="$PWD/target/fuzz-corpus/$target" crashes="$PWD/target/fuzz-crashes/$target"
mkdir -p "$corpus" "$crashes"
export BOLERO_TEST_NAME=$target BOLERO_LIBTEST_HARNESS=1
export BOLERO_LIBFUZZER_ARGS="$corpus -artifact_prefix=$crashes/ $*"
binary=$(ls -t "${FUZZ_TARGET_DIR:-target/fuzz}/$host"/fuzz/deps/fuzz-* | grep -v '\.d$' | head -n 1)
exec "$binary" "$target" --exact --nocapture --test-threads 1
