# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034,SC2153 # its variables are set and read by the others
# The parts of scripts/prove, and the verdicts that it keeps. Sourced, never run.

# How often every integration test runs, each time with fresh interpreters.
ROUNDS=${ROUNDS:-10}
# With which seeds every drill is held.
SEEDS=${SEEDS:-1 2 3}

# all_parts: one name a line, the shorter proofs first.
all_parts() {
  local round family seed
  printf '%s\n' unit-on-all-cores sanity-on-all-pythons stories mutants races kills
  for seed in $SEEDS; do
    for family in "$ROOT"/roles/drill/faults/*/; do
      echo "drills-$(basename "$family")-seed-$seed"
    done
  done
  for round in $(seq 1 "$ROUNDS"); do
    echo "integration-$round"
  done
}

prove_part() {
  local races="$ROOT/tests/integration/test_spine_races.py" runs="$ROOT/tests/integration/test_spine_runs.py"
  case $1 in
    unit-on-all-cores) ALL_UNIT=1 stage_compat ;;
    sanity-on-all-pythons) IMPORTED_ON="3.8 3.9 3.10 3.11 3.12 3.13" stage_sanity ;;
    stories) ALL_STORIES=1 stage_molecule ;;
    mutants) prove_mutants ;;
    races)
      RACES=1000 PLAYBOOK_RACES=20 run_pytest races 7200 "$PYTHON" "$races" -k "not controller_killed" || true
      ;;
    kills)
      BOUNDARIES=1 run_pytest kills 7200 "$PYTHON" "$races" "$runs" -k "controller_killed or connection_lost" || true
      ;;
    drills-*) prove_drills "${1#drills-}" ;; # FAMILY-seed-NUMBER
    integration-*) SOMABRAIN_COLD=1 integration_tests pytest 7200 || true ;;
  esac
}

# prove_mutants: every judgement with one operator, constant or condition flipped; verdicts of modules that did not change are kept.
prove_mutants() {
  local venv="$ROOT/.cache/venv-mutants"
  if ! "$venv/bin/python" -c 'import cosmic_ray' 2>/dev/null; then
    run_case venv-mutants 120 "$PYTHON" -m venv --clear "$venv" || return 0
    run_case install-mutants 600 "$venv/bin/pip" install --quiet -r "$ROOT/requirements/requirements-prove.txt" || return 0
  fi
  make_tree
  run_case mutants 28800 env TEST_PYTHON="$PYTHON" "$venv/bin/python" "$ROOT/scripts/lib/mutants.py" "$RUN_DIR/tree" "$ROOT/.cache/mutants" || true
}

# prove_drills FAMILY-seed-NUMBER: every fault of the family, the slow ones too; each counts by itself.
prove_drills() {
  local family=${1%-seed-*} seed=${1##*-seed-} faults log begun status=0 counts
  mapfile -t faults < <(basename -s .yml -a "$ROOT/roles/drill/faults/$family"/*.yml | sed "s,^,$family/,")
  log="$RUN_DIR/log/$STAGE.log" begun=$(now)
  SEED=$seed wait_for 10800 "$ROOT/scripts/drill" "${faults[@]}" >"$log" 2>&1 || status=$?
  read -r -a counts < <(sed -nE 's/^([0-9]+) held, ([0-9]+) failed, ([0-9]+) skipped in [0-9]+ s$/\1 \2 \3/p' "$log")
  if [ "$status" -ne 0 ] || [ "${#counts[@]}" -ne 3 ]; then cat "$log"; fi
  if [ "${#counts[@]}" -ne 3 ]; then counts=(0 1 0); fi
  # A command that ended badly is never a row without a failure.
  if [ "$status" -ne 0 ] && [ "${counts[1]}" -eq 0 ]; then counts[1]=1; fi
  record "drills of $family, seed $seed" "${counts[@]}" "$(since "$begun")" "$([ "$status" -eq 0 ] || echo "exit $status")"
}

# prepare_parts: Docker, its image and Kubernetes, where they can be had; what a machine lacks its tests skip, with the reason.
prepare_parts() {
  case ",$PLAN," in *,integration-* | *,stories,*) ;; *) return 0 ;; esac
  begin_kubernetes
  apt_install openssh-client git || true
  if ! ensure_docker || ! ensure_image; then
    say "   without Docker: $WHY_NO_DOCKER"
  elif ! ensure_compose; then
    say "   without Compose: $WHY_NO_COMPOSE"
  fi
  ensure_collections || say "   without the collections of others: the PyPI package ansible could not be fetched"
  ensure_kubernetes || say "   without Kubernetes: $WHY_NO_KUBERNETES"
}

# --- Verdicts: rows of results, each with the tree on which it was seen as an eighth field ---

# tree_of_now: the commit, or with changes what is committed and what is changed. The page that shows the verdicts is no part of it.
tree_of_now() {
  git -C "$ROOT" rev-parse --is-inside-work-tree >/dev/null 2>&1 || { echo "no repository" && return 0; }
  git -C "$ROOT" diff --quiet HEAD -- . ':!docs/proof.md' || { changed_tree && return 0; }
  git -C "$ROOT" log -1 --format=%h -- . ':!docs/proof.md'
}

changed_tree() {
  echo "changed-$(git -C "$ROOT" diff HEAD --binary -- . ':!docs/proof.md' | sha256sum | cut -c1-12)"
}

open_state() {
  THIS_TREE=$(tree_of_now)
  if [ -n "${FRESH:-}" ] || [ ! -e "$STATE" ]; then : >"$STATE"; fi
}

# has_verdict PART [TREE]: whether it was proven, on TREE or at all.
has_verdict() { awk -F '\t' -v part="$1" -v tree="${2:-}" '$1 == part && (tree == "" || $8 == tree) { n++ } END { exit !n }' "$STATE"; }

# parts_to_do: those that this tree has no verdict for, first those that were never proven, then those that were proven longest ago.
parts_to_do() {
  local part all
  mapfile -t all < <(all_parts)
  for part in "${all[@]}"; do
    has_verdict "$part" || echo "$part"
  done
  cut -f 1 "$STATE" | awk '!seen[$0]++' | while read -r part; do
    case " ${all[*]} " in
      *" $part "*) has_verdict "$part" "$THIS_TREE" || echo "$part" ;;
    esac
  done
}

# keep_verdict PART: its rows replace those of before, at once, so that an interrupt never leaves half of them. The newest is last.
keep_verdict() {
  {
    awk -F '\t' -v part="$1" '$1 != part' "$STATE"
    sed "s/$/\t$THIS_TREE/" "$RESULTS"
  } >"$STATE.new" && mv "$STATE.new" "$STATE"
  : >"$RESULTS"
}
