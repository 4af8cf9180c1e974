# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The families of faults: each is a folder with the same four parts - target, scene, writers, steps - and one line here."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from . import postgres, redis, release, service, traffic
from .errors import DrillError
from .scene import Scene
from .steps import Words
from .target import Target

Part = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Place:
    """One inventory host that may be broken, and how each of its parts is reached."""

    host: str
    inventories: t.Tuple[str, ...]
    lab_dir: str
    parts: t.Mapping[str, Part]


@dataclasses.dataclass(frozen=True)
class Family:
    """What a fault's family chooses: which part of a place is broken, on which scene, by which words, and what recovers it."""

    part: str
    playbook: str
    target_class: t.Callable[..., Target]
    scene: t.Callable[..., Scene]
    words: Words
    away: t.Tuple[type[Exception], ...]
    of_lab: t.Callable[[Path, t.Dict[str, t.Any]], Part]

    def target(self, place: Place) -> Target:
        """Return this family's part of *place*. Raises DrillError where its files are not there."""
        part = dict(place.parts[self.part])
        paths = {name: Path(part.pop(name)) for name in ("data_dir", "config_file", "log_file")}
        missing = [str(path) for name, path in paths.items() if name != "log_file" and not (path.is_absolute() and path.exists())]
        if missing:
            raise DrillError(f"there is no {', '.join(missing)}: name the data directory and configuration file of the host")
        return self.target_class(host=place.host, inventories=place.inventories, lab_dir=place.lab_dir, **paths, **part)


REDIS = Family(
    "redis", "recover_redis", redis.target.Target, redis.scene.Scene, redis.steps.WORDS, redis.writers.Ledger.away, redis.target.of_lab
)
POSTGRES = Family(
    "postgresql", "recover_database", postgres.target.Target, postgres.scene.Scene, postgres.steps.WORDS, postgres.writers.Ledger.away,
    postgres.target.of_lab,
)  # fmt: skip
BACKUP = dataclasses.replace(POSTGRES, playbook="restore_database")
SERVICE = Family(
    "service", "restart_service", service.target.Target, service.scene.Scene, service.steps.WORDS, service.writers.Ledger.away,
    service.target.of_lab,
)  # fmt: skip
RELEASE = Family(
    "service", "rollback", release.target.Target, release.scene.Scene, release.steps.WORDS, release.writers.Ledger.away,
    release.target.of_lab,
)  # fmt: skip
TRAFFIC = Family(
    "service", "restore_traffic", traffic.target.Target, traffic.scene.Scene, traffic.steps.WORDS, traffic.writers.Ledger.away,
    traffic.target.of_lab,
)  # fmt: skip
FAMILIES: t.Mapping[str, Family] = {
    "redis": REDIS, "control": REDIS, "postgres": POSTGRES, "backup": BACKUP, "service": SERVICE, "release": RELEASE,
    "traffic": TRAFFIC,
}  # fmt: skip
