# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034,SC2153 # its variables are set and read by the others
# What every stage of scripts/test needs: saying, timing, recording, finding. Sourced, never run.

# A line of progress that is rewritten in place must go before anything else is printed.
CLEAR_LINE=""
[ ! -t 1 ] || CLEAR_LINE=$'\r\033[K'

say() { printf '%s%s\n' "$CLEAR_LINE" "$*"; }

heading() { printf '%s\n== %s\n' "$CLEAR_LINE" "$*"; }

now() { date +%s.%N; }

since() { awk -v begun="$1" -v now="$(now)" 'BEGIN { printf "%.1f", now - begun }'; }

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# record NAME PASSED FAILED SKIPPED SECONDS NOTE: one line of the table at the end.
record() {
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$STAGE" "$1" "$2" "$3" "$4" "$5" "${6//[$'\t\n']/ }" >>"$RESULTS"
}

# skip NAME REASON: what this machine cannot have is skipped aloud and counted.
skip() {
  say "   skipped  $1: $2"
  record "$1" 0 0 1 0 "$2"
}

# fail NAME REASON: a case that could not even be tried, though it should have been.
fail() {
  say "   FAILED   $1: $2"
  record "$1" 0 1 0 0 "$2"
}

# --- Progress: PLAN holds the names of the steps, joined by commas ---

PLAN="" STEP="" STEP_BEGUN="" TICKER="" TICKS=60
[ ! -t 1 ] || TICKS=5
LEARNED="$ROOT/.cache/seconds.json"
RUN_BEGUN=$(now)

# begin_step NAME: shows a line of progress, and again every TICKS seconds until end_step.
begin_step() {
  STEP=$1 STEP_BEGUN=$(now)
  rm -f "$RUN_DIR/pytest-log"
  show_progress
  (
    # A sleep in the foreground would hold up the signal.
    trap 'kill "$!" 2>/dev/null; exit 0' TERM
    while true; do
      sleep "$TICKS" >/dev/null 2>&1 &
      wait "$!"
      show_progress
    done
  ) &
  TICKER=$!
}

show_progress() {
  local line
  line=$("$PYTHON" "$ROOT/scripts/lib/progress.py" line "$ROOT/scripts/lib/seconds.json:$LEARNED" "$PLAN" "$STEP" \
    "$(since "$RUN_BEGUN")" "$(since "$STEP_BEGUN")" "$(cat "$RUN_DIR/pytest-log" 2>/dev/null)" 2>/dev/null) || return 0
  if [ -n "$CLEAR_LINE" ]; then printf '%s%s' "$CLEAR_LINE" "$line"; else say "$line"; fi
}

end_step() {
  stop_ticker
  "$PYTHON" "$ROOT/scripts/lib/progress.py" learn "$LEARNED" "$STEP" "$(since "$STEP_BEGUN")" || true
}

stop_ticker() {
  [ -z "$TICKER" ] || kill "$TICKER" 2>/dev/null || true
  [ -z "$TICKER" ] || wait "$TICKER" 2>/dev/null || true
  TICKER=""
}

# wait_for SECONDS COMMAND...: runs in the background, so that an interrupt reaches clean_up at once; 124 when SECONDS are over.
wait_for() {
  local status=0
  timeout --kill-after=20 "$@" </dev/null &
  CHILD=$!
  wait "$CHILD" || status=$?
  CHILD=""
  return "$status"
}

# in_lane FUNCTION ARGS...: runs it beside others, LANES_AT_ONCE of them at most; wait_for_lanes waits for all of them.
in_lane() {
  while [ "$(lanes_taken)" -ge "$LANES_AT_ONCE" ]; do sleep 0.2; done
  (
    trap '[ -z "$CHILD" ] || kill "$CHILD" 2>/dev/null; exit 143' TERM
    "$@"
  ) &
  LANES+=("$!")
}

lanes_taken() {
  local pid taken=0
  for pid in "${LANES[@]}"; do
    ! kill -0 "$pid" 2>/dev/null || taken=$((taken + 1))
  done
  echo "$taken"
}

wait_for_lanes() {
  # Of a lane that ended long ago the shell may know nothing any more.
  [ "${#LANES[@]}" -eq 0 ] || wait "${LANES[@]}" 2>/dev/null || true
  LANES=()
}

# run_case NAME SECONDS COMMAND...: quiet when it passes, shown whole when it fails; killed after SECONDS.
run_case() {
  local name=$1 limit=$2 log begun status=0
  shift 2
  log="$RUN_DIR/log/$STAGE-${name//[^A-Za-z0-9._-]/_}.log"
  begun=$(now)
  wait_for "$limit" "$@" >"$log" 2>&1 || status=$?
  finish_case "$name" "$status" "$begun" "$log" "$limit"
}

finish_case() { # NAME STATUS BEGUN LOG LIMIT
  local seconds
  seconds=$(since "$3")
  if [ "$2" -eq 0 ]; then
    say "   passed   $1 (${seconds} s)"
    record "$1" 1 0 0 "$seconds" ""
    return 0
  fi
  cat "$4"
  if [ "$2" -eq 124 ]; then
    say "   FAILED   $1: no end within $5 s"
    record "$1" 0 1 0 "$seconds" "no end within $5 s"
  else
    say "   FAILED   $1 (exit $2, ${seconds} s)"
    record "$1" 0 1 0 "$seconds" "exit $2"
  fi
  return 1
}

# run_pytest NAME SECONDS PYTHON ARGS...: counts every test; says each skip with its reason. Where no more than AGAIN fail,
# they are run once more, one by one: what passes then is counted as passed, and named as unsteady in the table.
run_pytest() {
  local name=$1 limit=$2 python=$3 log xml begun status=0 seconds counts passed failed skipped note=""
  shift 3
  log="$RUN_DIR/log/$STAGE-$name.log" xml="$RUN_DIR/log/$STAGE-$name.xml"
  begun=$(now)
  [ "$STAGE" != "$STEP" ] || echo "$log" >"$RUN_DIR/pytest-log"
  local pytest=("$python" -m pytest -q -rs --tb=short -o "cache_dir=$RUN_DIR/pytest-$STAGE-$name" "--rootdir=$ROOT")
  wait_for "$limit" "${pytest[@]}" "--junitxml=$xml" "$@" >"$log" 2>&1 || status=$?
  # pytest's 5 means that it found no test: that is a skip with a reason, never a pass.
  if [ "$status" -eq 5 ]; then
    skip "$name" "no test found"
    return 0
  fi
  counts=$("$PYTHON" "$ROOT/scripts/lib/results.py" junit "$xml" "$status") || counts="0 1 0"
  read -r passed failed skipped <<<"$counts"
  if [ "$status" -eq 0 ]; then
    grep '^SKIPPED' "$log" | sed 's/^/   /' || true
    say "   $name: $(tail -n 1 "$log")"
  else
    cat "$log"
  fi
  if [ "$status" -eq 1 ] && [ "$failed" -le "$AGAIN" ]; then
    say "   $name: $failed failed; they are run once more, one by one"
    status=0
    wait_for "$limit" "${pytest[@]}" --last-failed --last-failed-no-failures none "$@" -n 0 >"$log.again" 2>&1 || status=$?
    cat "$log.again"
    if [ "$status" -eq 0 ]; then
      note="$failed failed at first and passed when run again alone: $("$PYTHON" "$ROOT/scripts/lib/results.py" failed "$xml")"
      passed=$((passed + failed)) failed=0
    fi
  fi
  seconds=$(since "$begun")
  [ "$status" -eq 0 ] || note="exit $status: $("$PYTHON" "$ROOT/scripts/lib/results.py" failed "$xml" 2>/dev/null | cut -c1-400)"
  record "$name" "$passed" "$failed" "$skipped" "$seconds" "$note"
  return "$((status != 0))"
}

# apt_install PACKAGE...: only what is missing, only as root; services that come along are not started.
apt_install() {
  local missing=() package policy=/usr/sbin/policy-rc.d ours=no status=0
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  if ! is_root || ! have apt-get; then
    return 1
  fi
  say "   installing ${missing[*]}"
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && ours=yes
  fi
  {
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}" ||
      { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}"; }
  } >"$RUN_DIR/log/apt-${missing[0]}.log" 2>&1 </dev/null || status=$?
  [ "$ours" = no ] || rm -f "$policy"
  [ "$status" -eq 0 ] || cat "$RUN_DIR/log/apt-${missing[0]}.log"
  return "$status"
}

# find_python X.Y...: print the real binary of the first interpreter found; a shim makes each start nine times slower.
find_python() {
  local version candidate
  for version in "$@"; do
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/"python$version"; do
      "$candidate" -c 'import os, sys, venv; print(os.path.realpath(sys.executable))' 2>/dev/null && return 0
    done
  done
  return 1
}

# make_tree: a copy of the checkout at the path where Ansible's own tools expect a collection.
make_tree() {
  TREE="$RUN_DIR/tree/ansible_collections/somabrain/incident_response"
  [ ! -d "$TREE" ] || return 0
  mkdir -p "$TREE"
  if git -C "$ROOT" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git -C "$ROOT" ls-files -z --cached --others --exclude-standard | (cd "$ROOT" && perl -0ne 'chomp; print "$_\0" if -e || -l') |
      tar -C "$ROOT" --null --no-recursion -T - -cf - | tar -C "$TREE" -xf -
  else
    tar -C "$ROOT" --exclude=./.venv --exclude=./.cache --exclude=./playbooks/collections -cf - . | tar -C "$TREE" -xf -
  fi
}
