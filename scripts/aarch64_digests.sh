#!/usr/bin/env bash
# Hold the aarch64 build of the embedder to its golden digests, on any Linux machine, under qemu's user-mode emulation.
#
#   scripts/aarch64_digests.sh          40 texts, the shortest of each kind and more: 6 minutes after the build
#   scripts/aarch64_digests.sh 100      100 texts
#   scripts/aarch64_digests.sh --all    every text: hours
#
# Needs, on Debian: `apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross`, and
# `rustup target add aarch64-unknown-linux-gnu`. The model is the one in the user's cache (`engram model fetch`), or in
# ENGRAM_MODEL_DIR. Ends with 0 if every kernel of the build gives every digest.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
model=${ENGRAM_MODEL_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/engram/models/all-MiniLM-L6-v2}
texts=${1:-40}
for need in qemu-aarch64 aarch64-linux-gnu-gcc cargo; do
  command -v "$need" >/dev/null || { echo "error: no $need; the head of $0 says where it comes from" >&2; exit 2; }
done
test -f "$model/model.safetensors" || { echo "error: no model in $model; set ENGRAM_MODEL_DIR" >&2; exit 2; }

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
arguments=("$model" "$PWD/tests/data/minilm_digests.json")
if [ "$texts" != --all ]; then arguments+=("$texts"); fi
cd engram/native
cargo run --quiet --release --target "$target" --example digests -- "${arguments[@]}"
