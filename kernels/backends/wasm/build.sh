#!/bin/sh
# Compiles gradients.as to gradients.wasm, which is committed: users need no compiler. The source's sha256 goes into
# gradients.wasm.source, so that a test notices a source that was changed without a build.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
# The compiler wants .ts, and tsc must not see AssemblyScript: hence the copy.
cp "$here/gradients.as" "$work/gradients.ts"
cd "$work"
npx --yes --package assemblyscript@0.28.20 asc gradients.ts -o gradients.wasm \
  -O3 --noAssert --runtime stub --importMemory --noExportMemory --enable simd --enable bulk-memory
cp gradients.wasm "$here/gradients.wasm"
sha256sum "$here/gradients.as" | cut -d' ' -f1 > "$here/gradients.wasm.source"
