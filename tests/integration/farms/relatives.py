# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of later Debian suites, unpacked beside the machine's own: each program runs with the loader and the libraries of its suite."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR = "http://deb.debian.org/debian"
LIBRARIES = (
    "libc6", "libstdc++6", "libgcc-s1", "libssl3t64", "libsystemd0", "libjemalloc2", "liblzf1", "liblua5.1-0", "libcap2", "libzstd1",
    "libatomic1", "libhiredis1.1.0",
)  # fmt: skip
INTERPRETER = b"/lib64/ld-linux-x86-64.so.2"


class Unavailable(Exception):
    """The suite's packages cannot be had here; the text says why."""


def _apt(folder: Path, *words: str) -> str:
    options = [
        f"Dir::Etc::SourceList={folder}/s.list", "Dir::Etc::SourceParts=-", f"Dir::State::Lists={folder}/lists",
        f"Dir::Cache={folder}/cache", "APT::Sandbox::User=root",
    ]  # fmt: skip
    command = ["apt-get", "-qq", *[word for one in options for word in ("-o", one)], *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()[-200:] or f"apt-get {words[0]} failed"


def unpacked(folder: Path, suite: str, package: str) -> Path:
    """Return a directory with the programs of *package* (redis or valkey) of a Debian *suite*, runnable here. Raises Unavailable."""
    if not KEYS.exists() or not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Unavailable("this machine has no apt of Debian")
    for name in ("lists/partial", "cache/archives/partial", "bin"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "s.list").write_text(f"deb [signed-by={KEYS}] {MIRROR} {suite} main\n")
    why = _apt(folder, "update") or _apt(folder, "download", f"{package}-server", f"{package}-tools")
    if why:
        raise Unavailable(f"{package} of Debian {suite}: {why}")
    for name in LIBRARIES:
        # Not each is in every suite; what is missing in the end, the program itself says.
        _apt(folder, "download", name)
    for deb in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder / "root")], check=True, timeout=60)
    loader = next(iter((folder / "root").rglob("ld-linux-x86-64.so.2")), None)
    if loader is None:
        raise Unavailable(f"libc6 of Debian {suite} has no loader for this machine")
    (folder / "ld").symlink_to(loader)
    libraries = ":".join(str(path) for path in (folder / "root").rglob("*x86_64-linux-gnu") if path.is_dir())
    for program in (folder / "root/usr/bin").glob(f"{package}-*"):
        _made_runnable(folder, program, libraries)
    return folder / "bin"


def _made_runnable(folder: Path, program: Path, libraries: str) -> None:
    data = program.read_bytes()
    if INTERPRETER not in data:
        return
    inner = str(folder / "ld").encode()
    assert len(inner) <= len(INTERPRETER), "the folder's name is too long for the place of the loader's name"
    real = folder / "real" / program.name
    real.parent.mkdir(exist_ok=True)
    real.write_bytes(data.replace(INTERPRETER, inner.ljust(len(INTERPRETER), b"\0"), 1))
    script = folder / "bin" / program.name
    script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {real} "$@"\n')
    for path in (real, script):
        os.chmod(path, 0o755)
