# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034,SC2153 # its variables are set and read by the others
# A Kubernetes API server for the tests, built from Go modules, since no image can be pulled where no registry is reached. Sourced, never run.

WHY_NO_KUBERNETES=""
KUBERNETES_BUILD=""

kubernetes_program() {
  local recipe="$ROOT/tests/integration/farms/kube"
  echo "$ROOT/.cache/kube-$(cat "$recipe/main.go" "$recipe/go.mod" "$recipe/go.sum" | sha256sum | cut -c1-12)"
}

# begin_kubernetes: starts the build in the background, below everything else: it takes minutes, once, and other stages go on meanwhile.
begin_kubernetes() {
  local program
  program=$(kubernetes_program)
  [ ! -x "$program" ] && [ -z "$KUBERNETES_BUILD" ] && have go || return 0
  say "   building a Kubernetes API server in the background (some minutes, once)"
  rm -f "$program.new"
  nice -n 15 env -C "$ROOT/tests/integration/farms/kube" GOFLAGS=-buildvcs=false \
    go build -trimpath -ldflags="-s -w" -o "$program.new" . >"$RUN_DIR/log/kubernetes.log" 2>&1 </dev/null &
  KUBERNETES_BUILD=$!
}

# ensure_kubernetes: waits for the build and exports the program's name; says in WHY_NO_KUBERNETES what is missing.
ensure_kubernetes() {
  local program
  program=$(kubernetes_program)
  if ! have go && [ ! -x "$program" ]; then
    WHY_NO_KUBERNETES="an API server is built with Go, which is not installed"
    return 1
  fi
  if ! apt_install etcd-server; then
    WHY_NO_KUBERNETES="etcd-server could not be installed"
    return 1
  fi
  begin_kubernetes
  if [ -n "$KUBERNETES_BUILD" ]; then
    # The shell may have forgotten how it ended long ago; Go moves the program to its place when it is whole.
    wait "$KUBERNETES_BUILD" 2>/dev/null || true
    KUBERNETES_BUILD=""
    if [ ! -x "$program.new" ]; then
      tail -n 5 "$RUN_DIR/log/kubernetes.log"
      WHY_NO_KUBERNETES="the API server could not be built"
      return 1
    fi
    rm -f "$ROOT"/.cache/kube-????????????
    mv "$program.new" "$program"
  fi
  export SOMABRAIN_KUBE="$program"
}

stop_kubernetes() {
  [ -z "$KUBERNETES_BUILD" ] || kill "$KUBERNETES_BUILD" 2>/dev/null || true
}
