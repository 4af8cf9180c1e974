# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which directory may become a lab: each part of its path is judged."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "roles/lab/files"))

from somabrain_lab import trust  # noqa: E402

FOLDER, LINK, FILE = stat.S_IFDIR, stat.S_IFLNK, stat.S_IFREG
TOP = trust.Part("/", 0, 0, FOLDER | 0o755)
TEMP = trust.Part("/tmp", 0, 0, FOLDER | 0o1777)  # noqa: S108


def part(path: str, uid: int = 0, mode: int = 0o755, gid: int = 0, kind: int = FOLDER) -> trust.Part:
    return trust.Part(path, uid, gid, kind | mode)


# The parts of a path, who starts the lab (user and group), why it is refused.
PATHS: dict[str, tuple[list[trust.Part], int, str]] = {
    "root's own": ([TOP, part("/var"), part("/var/lab")], 0, ""),
    "not there yet": ([TOP, part("/var")], 0, ""),
    "a person's own": ([TOP, part("/home"), part("/home/me", 1000, 0o750, 1000), part("/lab", 1000, 0o775, 1000)], 1000, ""),
    "below /tmp": ([TOP, TEMP, part("/tmp/lab")], 0, ""),  # noqa: S108
    "of a stranger": ([TOP, TEMP, part("/lab", 1001)], 0, "belongs to user 1001"),
    "of a stranger above": ([TOP, part("/home/them", 1001), part("/lab")], 0, "/home/them belongs to user 1001"),
    "root's lab of a person": ([TOP, part("/home/me", 1000), part("/lab")], 0, "belongs to user 1000"),
    "open to all": ([TOP, part("/lab", 0, 0o777)], 0, "can be changed by others (mode 777"),
    "open to all, sticky": ([TOP, part("/lab", 0, 0o1777)], 0, "can be changed by others"),
    "open to all above": ([TOP, part("/srv", 0, 0o777), part("/lab")], 0, "/srv can be changed by others"),
    "open to a group": ([TOP, part("/lab", 0, 0o775, 50)], 0, "can be changed by others (mode 775, group 50)"),
    "open to root's group": ([TOP, part("/lab", 0, 0o775, 0)], 0, ""),
    "a link": ([TOP, part("/lab", 0, 0o777, 0, LINK)], 0, "is a symlink"),
    "a link of root above": ([TOP, part("/run", 0, 0o777, 0, LINK), part("/lab")], 0, ""),
    "a link of a stranger above": ([TOP, TEMP, part("/there", 1001, 0o777, 0, LINK), part("/lab")], 0, "belongs to user 1001"),
    "a file": ([TOP, part("/lab", 0, 0o644, 0, FILE)], 0, "is not a directory"),
}


@pytest.mark.parametrize("case", PATHS)
def test_each_part_of_a_path_is_judged(case: str) -> None:
    parts, uid, why = PATHS[case]
    told = trust.judge_parts(parts, "/lab" if any(one.path == "/lab" for one in parts) else parts[-1].path, uid, uid)
    assert (why in told) if why else told == ""


def test_what_a_link_on_the_way_leads_to_is_judged_too(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "way").symlink_to(tmp_path / "open")
    assert "can be changed by others" in trust.why_not(tmp_path / "way/lab")


def test_a_new_file_never_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    (tmp_path / "new").symlink_to(tmp_path / "precious")
    with trust.open_new(tmp_path / "new", 0o600) as file:
        file.write("ours")
    assert (tmp_path / "precious").read_text() == "data"
    assert (tmp_path / "new").read_text() == "ours"
    assert stat.S_IMODE(os.lstat(tmp_path / "new").st_mode) == 0o600
