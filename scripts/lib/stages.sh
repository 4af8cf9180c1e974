# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034,SC2153 # its variables are set and read by the others
# One function for each stage of scripts/test. Sourced, never run.

COLLECTION=ansible_collections.somabrain.incident_response
# An integration test mostly waits for a process, so two for each core keep it busy; a story with its machine takes more of it.
WORKERS=${WORKERS:-$(($(nproc) * 2))}
LANES_AT_ONCE=$(($(nproc) + 1))
# How many failed stories are run once more.
STORIES_AGAIN=3

stage_lint() {
  make_tree
  # ansible-lint asks the modules of others for their options.
  ensure_collections || fail collections "the PyPI package ansible, which carries community.docker, could not be fetched"
  local bin="$ROOT/.venv/bin" scripts
  run_case ruff 120 env -C "$TREE" "$bin/ruff" check --no-cache --output-format concise . || true
  lint_types || true
  # Shipped code meets old Pythons; the syntax check alone would not see a function that 3.8 lacks.
  run_case python-3.8 120 "$bin/vermin" --quiet --target=3.8- --no-tips --violations "$TREE/plugins/module_utils" "$TREE/plugins/modules" || true
  run_case yamllint 120 env -C "$TREE" "$bin/yamllint" --strict . || true
  run_case ansible-lint 900 env -C "$TREE" "PATH=$bin:$PATH" "ANSIBLE_COLLECTIONS_PATH=$RUN_DIR/tree:$ROOT/.cache/collections" \
    "ANSIBLE_CONFIG=$RUN_DIR/ansible.cfg" "$bin/ansible-lint" --offline --nocolor --format pep8 -q || true
  if have shellcheck || apt_install shellcheck; then
    # Sourced files are checked where they are sourced: only there their variables are known.
    scripts=$(cd "$TREE" && grep -rlE '^#!.*\b(ba)?sh\b' .)
    # shellcheck disable=SC2086 # one word for each script
    run_case shellcheck 120 env -C "$TREE" shellcheck --source-path="$TREE" --external-sources --check-sourced $scripts || true
  else
    skip shellcheck "not installed, and only root can install it"
  fi
}

lint_types() {
  local mypy=("$ROOT/.venv/bin/mypy" --config-file "$TREE/pyproject.toml" --cache-dir "$ROOT/.cache/mypy")
  run_case mypy 600 env -C "$RUN_DIR/tree" "MYPYPATH=$RUN_DIR/tree" "${mypy[@]}" -p "$COLLECTION.plugins" || true
  # Each folder of scripts is a program of its own, whose modules may bear the names of another's.
  local folder path
  for folder in scripts/lib tests/unit tests/integration molecule roles/lab/files roles/drill/files benchmarks; do
    [ -n "$(find "$TREE/$folder" -name '*.py' -print -quit 2>/dev/null)" ] || continue
    # What two of them share is found where it lives.
    path="$RUN_DIR/tree:$TREE/$folder:$TREE/roles/drill/files:$TREE/roles/lab/files:$TREE/tests/integration"
    run_case "mypy-${folder//\//-}" 600 env -C "$TREE/$folder" "MYPYPATH=$path" "${mypy[@]}" . || true
  done
}

# The oldest Python of a target. The unit tests import everything on that of the controller, compat on the newest; make prove tries all.
IMPORTED_ON=${IMPORTED_ON:-3.8}

stage_sanity() {
  make_tree
  place_get_pip
  local log="$RUN_DIR/log/sanity.log" begun status=0 version path="$ROOT/.venv/bin" python
  # Each version found is one on which compile is tried; the real binary before a shim, which may name a version it lacks, and under which
  # ansible-test does not find itself again.
  for version in 3.8 3.9 3.10 3.11 3.12 3.13; do
    ! python=$(find_python "$version") || path="$path:$(dirname "$python")"
  done
  path="$path:$PATH"
  begun=$(now)
  sanity_tests "$path" --skip-test import >"$log" 2>&1 || status=$?
  for version in $IMPORTED_ON; do
    if find_python "$version" >/dev/null; then
      sanity_tests "$path" --test import --python "$version" >>"$log" 2>&1 || status=$?
    else
      skip "import on Python $version" "there is no Python $version here"
    fi
  done
  count_sanity "$log" "$status" "$(since "$begun")"
}

sanity_tests() { # PATH WORDS...
  local path=$1
  shift
  wait_for 1800 env -C "$TREE" "PATH=$path" "$ROOT/.venv/bin/ansible-test" sanity --local --color no "$@"
}

count_sanity() { # LOG STATUS SECONDS
  local ran failed=0 skipped
  ran=$(grep -c '^Running sanity test ' "$1") || true
  while read -r skipped; do
    skip "${skipped%|*}" "${skipped#*|}"
  done < <(sed -nE 's/^WARNING: Skipping sanity test "([^"]+)" (on Python [0-9.]+ )?(because|due to) (.*)$/\1 \2|\4/p' "$1" | sort -u)
  if [ "$2" -ne 0 ] || [ "$ran" -eq 0 ]; then
    cat "$1"
    failed=$(awk '/^(FATAL|ERROR): The [0-9]+ sanity test/ { sum += $3 } END { print (sum ? sum : 1) }' "$1")
  fi
  say "   ansible-test: $ran tests, $failed failed ($3 s)"
  record ansible-test "$((ran > failed ? ran - failed : 0))" "$failed" 0 "$3" ""
}

# place_get_pip: ansible-test downloads a bootstrap script that may be out of reach; ensurepip does the same from the disk.
place_get_pip() {
  local version cached
  version=$("$PYTHON" -c 'import inspect, re, ansible_test._internal.python_requirements as m
print(re.search(r"pip=.([\d.]+)", inspect.getsource(m.get_venv_packages)).group(1))') || return 0
  cached="$HOME/.ansible/test/cache/get_pip_${version//./_}.py"
  [ -e "$cached" ] || { mkdir -p "$(dirname "$cached")" && cp "$ROOT/scripts/lib/get_pip.py" "$cached"; }
}

stage_galaxy() {
  make_tree
  local bin="$ROOT/.venv/bin" tarball
  run_case changelog 60 env -C "$TREE" "$bin/antsibull-changelog" lint || true
  run_case build 120 env -C "$TREE" "ANSIBLE_CONFIG=$RUN_DIR/ansible.cfg" "$bin/ansible-galaxy" collection build --output-path "$RUN_DIR/build" || return 0
  tarball=$(echo "$RUN_DIR"/build/*.tar.gz)
  printf '[galaxy-importer]\nrun_ansible_lint = false\nrun_ansible_test = false\nansible_local_tmp = %s\n' "$RUN_DIR/importer" >"$RUN_DIR/importer.cfg"
  run_case importer 300 env -C "$RUN_DIR" "PATH=$bin:$PATH" "GALAXY_IMPORTER_CONFIG=$RUN_DIR/importer.cfg" \
    "$PYTHON" -m galaxy_importer.main "$tarball" || true
  run_case install 120 env "ANSIBLE_CONFIG=$RUN_DIR/ansible.cfg" "$bin/ansible-galaxy" collection install --offline -p "$RUN_DIR/installed" "$tarball" || true
}

stage_unit() { run_pytest pytest 900 "$PYTHON" -n "$(nproc)" "$ROOT/tests/unit" || true; }

stage_integration() {
  # Some tests want systemd, ssh or git; those that find none skip with their own reason.
  apt_install openssh-client git || true
  if ! ensure_docker || ! ensure_image; then
    say "   without Docker: $WHY_NO_DOCKER"
  elif ! ensure_compose; then
    say "   without Compose: $WHY_NO_COMPOSE"
  fi
  ensure_collections || say "   without the collections of others: the PyPI package ansible could not be fetched"
  ensure_kubernetes || say "   without Kubernetes: $WHY_NO_KUBERNETES"
  integration_tests pytest 3900 -m 'not long' || true
}

# integration_tests NAME SECONDS [WORDS...]: all of them, the longest files first, so that no worker is left alone with one in the end.
integration_tests() {
  local name=$1 limit=$2
  shift 2
  PATH="$ROOT/.venv/bin:$PATH" run_pytest "$name" "$limit" "$PYTHON" -n "$WORKERS" --dist loadfile --no-loadscope-reorder \
    "$@" "$ROOT/tests/integration"
}

stage_molecule() {
  local file name docker=yes
  if ! ensure_collections; then
    fail collections "the PyPI package ansible, which carries community.docker, could not be fetched"
    return 0
  fi
  ensure_docker && ensure_image || docker=no
  for file in "$ROOT"/molecule/${SCENARIO:-*}/molecule.yml; do
    name=$(basename "$(dirname "$file")")
    if [ ! -e "$file" ]; then
      fail "$name" "no such scenario"
    elif [ -z "${SCENARIO:-}${ALL_STORIES:-}" ] && grep -qx "$name" "$ROOT/molecule/long.txt"; then
      continue
    elif [ "$docker" = no ] && ! grep -q 'groups:.*\blocal\b' "$file"; then
      skip "$name" "$WHY_NO_DOCKER"
    else
      in_lane tell_story "$name"
    fi
  done
  wait_for_lanes
  tell_again
}

# tell_again: stories that failed are run once more, alone, unless more failed than that would help.
tell_again() {
  local rows="$RUN_DIR/again.tsv" name passed failed seconds note
  [ -s "$rows" ] || return 0
  if [ "$(wc -l <"$rows")" -gt "$STORIES_AGAIN" ] || [ "$AGAIN" -eq 0 ]; then
    cat "$rows" >>"$RESULTS"
  else
    while IFS=$'\t' read -r _stage name passed failed _skipped seconds note; do
      say "   $name: failed; it is run once more, alone"
      tell_story "$name" "failed at first ($note, $seconds s) and passed when run again alone"
    done < <(cat "$rows")
  fi
  rm -f "$rows"
}

# tell_story NAME [AGAIN]: one scenario from create to destroy; its testinfra tests are counted, and a story without any proves nothing.
# AGAIN: what to note if it passes; without it, a story that fails waits for tell_again.
tell_story() {
  local log="$RUN_DIR/log/molecule-$1.log" xml="$RUN_DIR/log/molecule-$1.xml" begun status=0 seconds counts note=${2:-}
  begun=$(now)
  rm -f "$xml"
  wait_for 600 env -C "$ROOT" "PATH=$ROOT/.venv/bin:$PATH" "PYTEST_ADDOPTS=--junitxml=$xml" NO_COLOR=1 \
    "$ROOT/.venv/bin/molecule" --base-config "$ROOT/.config/molecule/config.yml" test -s "$1" >"$log" 2>&1 || status=$?
  seconds=$(since "$begun")
  if [ "$status" -eq 0 ] && [ ! -s "$xml" ]; then
    fail "$1" "has no tests/test_*.py, so it proves nothing"
    return 0
  fi
  counts="0 1 0"
  [ ! -s "$xml" ] || counts=$("$PYTHON" "$ROOT/scripts/lib/results.py" junit "$xml" "$status")
  if [ "$status" -ne 0 ]; then
    mkdir -p "$ROOT/.cache/logs"
    cp "$log" "$ROOT/.cache/logs/"
    say "   $1: the end of .cache/logs/${log##*/}:"
    tail -n 120 "$log"
    note="exit $status"
  fi
  # shellcheck disable=SC2086 # three numbers
  if [ "$status" -eq 0 ] || [ -n "${2:-}" ]; then
    record "$1" $counts "$seconds" "$note"
  else
    RESULTS="$RUN_DIR/again.tsv" record "$1" $counts "$seconds" "$note"
  fi
  say "   $1: $counts (passed, failed, skipped; $seconds s)"
}

stage_compat() {
  # Ansible's floor, and the newest that needs a newer Python than Debian 12 has.
  compat_with 2.18 3.11 3.12 3.13
  compat_with 2.21 3.13 3.12
  local python
  if python=$(find_python 3.8); then
    run_case compile-3.8 120 env PYTHONDONTWRITEBYTECODE=1 "$python" "$ROOT/scripts/lib/compile.py" "$ROOT/plugins/module_utils" "$ROOT/plugins/modules" || true
  else
    skip compile-3.8 "no Python 3.8 here; lint checked the same code with vermin"
  fi
}

# What reaches into ansible-core: plugins, described inputs, the runner. All other unit tests know Python alone; `make prove` runs them too.
ON_CORE=(tests/unit/controller tests/unit/house/test_argument_specs.py tests/unit/spine/test_spine_processes.py tests/unit/health/test_health_report.py)

compat_with() { # CORE PYTHON...: the unit tests that depend on ansible-core (ALL_UNIT=1: all of them) and three recoveries
  local core=$1 python venv
  shift
  if ! python=$(find_python "$@"); then
    skip "core-$core" "ansible-core $core needs Python $1, and there is none here"
    return 0
  fi
  venv="$ROOT/.cache/venv-core-$core"
  if ! "$venv/bin/python" -c 'import ansible, xdist' 2>/dev/null; then
    rm -rf "$venv"
    grep -hv -i '^ansible-core' "$ROOT/requirements/requirements.txt" >"$RUN_DIR/requirements-$core.txt"
    run_case "venv-core-$core" 120 "$python" -m venv "$venv" || return 0
    run_case "install-core-$core" 600 "$venv/bin/pip" install --quiet "ansible-core==$core.*" pytest pytest-xdist hypothesis jsonschema markdown-it-py \
      -r "$RUN_DIR/requirements-$core.txt" || return 0
  fi
  local tests=("${ON_CORE[@]/#/$ROOT/}")
  [ -z "${ALL_UNIT:-}" ] || tests=("$ROOT/tests/unit")
  PATH="$venv/bin:$PATH" run_pytest "unit-core-$core" 900 "$venv/bin/python" -n "$(nproc)" "${tests[@]}" || true
  PATH="$venv/bin:$PATH" run_pytest "smoke-core-$core" 900 "$venv/bin/python" -n "$(nproc)" --dist loadfile -m smoke "$ROOT/tests/integration" || true
}
