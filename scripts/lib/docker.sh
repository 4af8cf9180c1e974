# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2034,SC2153 # its variables are set and read by the others
# A Docker engine and the image for molecule, on a machine that has neither and reaches no image registry. Sourced, never run.

DOCKERD_PID=""
DOCKER_UNIT=""
WHY_NO_DOCKER=""

engine_answers() { timeout 10 docker info >/dev/null 2>&1; }

# ensure_docker: an engine that answers; says in WHY_NO_DOCKER what is missing. What it starts, stop_docker stops.
ensure_docker() {
  if have docker && engine_answers; then
    return 0
  fi
  if ! is_root; then
    WHY_NO_DOCKER="no Docker engine answers, and only root can install and start one"
    return 1
  fi
  if ! have dockerd && ! apt_install docker.io iptables; then
    WHY_NO_DOCKER="no Docker engine, and docker.io could not be installed"
    return 1
  fi
  engine_answers || start_docker
}

# ensure_compose: the plugin `docker compose`. Debian 12 has none, so the binary of the next Debian is taken, by an apt state of
# its own that leaves the machine's sources and packages as they are. Says in WHY_NO_COMPOSE what is missing.
WHY_NO_COMPOSE=""
ensure_compose() {
  docker compose version >/dev/null 2>&1 && return 0
  local apt="$RUN_DIR/apt" plugins="${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins" keys=/usr/share/keyrings/debian-archive-keyring.gpg
  WHY_NO_COMPOSE="docker compose is not installed, and Debian's docker-compose package could not be fetched"
  have apt-get && have dpkg-deb && [ -e "$keys" ] || return 1
  say "   fetching docker compose (Debian trixie)"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$plugins"
  printf 'deb [signed-by=%s] %s trixie main\n' "$keys" "$(debian_mirror)" >"$apt/trixie.list"
  local options=(-qq -o "Dir::Etc::SourceList=$apt/trixie.list" -o "Dir::Etc::SourceParts=-" -o "Dir::State::Lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  # shellcheck disable=SC2016 # its parameters are the inner shell's
  if ! wait_for 300 env -C "$apt" sh -c 'apt-get "$@" update && apt-get "$@" download docker-compose' sh "${options[@]}" >"$RUN_DIR/log/compose.log" 2>&1; then
    tail -n 5 "$RUN_DIR/log/compose.log"
    return 1
  fi
  dpkg-deb --fsys-tarfile "$apt"/docker-compose_*.deb | tar -xO ./usr/libexec/docker/cli-plugins/docker-compose >"$plugins/docker-compose.new" &&
    chmod 755 "$plugins/docker-compose.new" && mv "$plugins/docker-compose.new" "$plugins/docker-compose"
  docker compose version >/dev/null 2>&1 && WHY_NO_COMPOSE=""
}

# debian_mirror: the one that this machine uses already.
debian_mirror() {
  local found
  found=$(grep -hsE '^(URIs:|deb ).*/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/* | grep -oE 'https?://[^ ]+' | head -n 1)
  echo "${found:-http://deb.debian.org/debian}"
}

start_docker() {
  say "   starting dockerd"
  if [ -d /run/systemd/system ] && systemctl start docker.service >/dev/null 2>&1; then
    DOCKER_UNIT=docker.service
  else
    rm -f "$RUN_DIR/dockerd.pid"
    # A session of its own: an interrupt at the terminal must reach the engine only after its containers are gone.
    setsid dockerd --pidfile "$RUN_DIR/dockerd.pid" >"$RUN_DIR/log/dockerd.log" 2>&1 </dev/null &
    DOCKERD_PID=$!
  fi
  for _ in $(seq 1 60); do
    engine_answers && return 0
    [ -z "$DOCKERD_PID" ] || kill -0 "$DOCKERD_PID" 2>/dev/null || break
    sleep 0.5
  done
  WHY_NO_DOCKER="dockerd does not start here: $(grep -i 'failed to start' "$RUN_DIR/log/dockerd.log" 2>/dev/null | tail -n 1 | cut -c1-200)"
  stop_docker
  return 1
}

stop_docker() {
  if [ -n "$DOCKER_UNIT" ]; then
    systemctl stop docker.socket docker.service >/dev/null 2>&1 || true
  else
    # A stage that ran in a shell of its own started it: then only its file knows the engine.
    DOCKERD_PID=${DOCKERD_PID:-$(cat "$RUN_DIR/dockerd.pid" 2>/dev/null || true)}
    if [ -n "$DOCKERD_PID" ] && kill "$DOCKERD_PID" 2>/dev/null; then
      wait "$DOCKERD_PID" 2>/dev/null || true
      for _ in $(seq 1 60); do
        kill -0 "$DOCKERD_PID" 2>/dev/null || break
        sleep 0.5
      done
    fi
  fi
  DOCKERD_PID="" DOCKER_UNIT=""
}

# remove_containers: whatever this run's scenarios left behind, found by this run's own label.
remove_containers() {
  have docker || return 0
  local left
  left=$(timeout 10 docker ps --all --quiet --filter "label=somabrain-test-run=$SOMABRAIN_TEST_RUN" 2>/dev/null) || return 0
  # shellcheck disable=SC2086 # one word for each container
  [ -z "$left" ] || timeout 60 docker rm --force --volumes $left >/dev/null 2>&1 || true
}

# ensure_image: the image of molecule/shared/image, built once for each state of its recipe; exports its name.
ensure_image() {
  local recipe="$ROOT/molecule/shared/image" hash base tarball
  hash=$(cat "$recipe/packages.txt" "$recipe/Dockerfile" "$recipe/build-base" | sha256sum | cut -c1-12)
  export SOMABRAIN_TEST_IMAGE="somabrain-test-systemd:$hash"
  docker tag "$SOMABRAIN_TEST_IMAGE" somabrain-test-systemd:latest >/dev/null 2>&1 && return 0
  base="somabrain-test-base:$hash" tarball="$ROOT/.cache/image-$hash.tar"
  if [ ! -s "$tarball" ]; then
    if ! is_root || ! apt_install mmdebstrap; then
      WHY_NO_DOCKER="the image needs mmdebstrap, which needs root"
      return 1
    fi
    say "   building the image (about a minute, once)"
    rm -f "$ROOT"/.cache/image-*.tar
    run_case image 1200 "$recipe/build-base" "$tarball" || { WHY_NO_DOCKER="the image could not be built" && return 1; }
  fi
  run_case import 300 docker import "$tarball" "$base" || return 1
  DOCKER_BUILDKIT=0 run_case image-systemd 300 docker build --quiet --build-arg "BASE=$base" --tag "$SOMABRAIN_TEST_IMAGE" \
    --tag somabrain-test-systemd:latest "$recipe"
}
