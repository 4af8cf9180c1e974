# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034,SC2153 # its variables are set and read by the others
# The collections that the tests borrow, taken from the PyPI package `ansible`, since Galaxy may be out of reach. Sourced, never run.

# The last `ansible` that runs on Python 3.11, and what is wanted of its hundred collections.
BORROWED_FROM='ansible==12.*'
BORROWED='community/docker community/library_inventory_filtering_v1 ansible/posix kubernetes/core'

ensure_collections() {
  local target="$ROOT/.cache/collections" stamp
  stamp="$target/.from-$(printf '%s' "$BORROWED_FROM $BORROWED" | sha256sum | cut -c1-12)"
  [ ! -e "$stamp" ] || return 0
  say "   fetching collections ($BORROWED_FROM)"
  rm -rf "$target" && mkdir -p "$target"
  "$PYTHON" -m pip download --quiet --no-deps --dest "$RUN_DIR/wheel" "$BORROWED_FROM" >"$RUN_DIR/log/collections.log" 2>&1 || {
    cat "$RUN_DIR/log/collections.log"
    return 1
  }
  # shellcheck disable=SC2086 # one word for each collection
  "$PYTHON" - "$RUN_DIR"/wheel/ansible-*.whl "$target" $BORROWED <<'PYTHON' && touch "$stamp"
import sys, zipfile
wheel, target, wanted = sys.argv[1], sys.argv[2], tuple(f"ansible_collections/{name}/" for name in sys.argv[3:])
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(target, [name for name in archive.namelist() if name.startswith(wanted)])
PYTHON
}
