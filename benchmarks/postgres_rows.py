# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL in a lab of its own: killed until a write and a read through the API are proven; 1 GB restored to a time and swapped in.

The bars are seconds; nothing is subtracted.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import sys
import time
import typing as t

from measure import Row, interleaved, timed
from world import PLAYBOOK, ROOT, World, run

sys.path.append(str(ROOT / "roles/drill/files"))

from somabrain_drill import downtime, lanes  # noqa: E402
from somabrain_drill.families import POSTGRES, Place  # noqa: E402

KILLED = "recover-database, killed to a write and a read through the API, proven, p95 of %d runs"
RESTORED = "restore-database, %s MB to a time, beside, compared and verified (both runs)"
CUT_OVER = "restore-database, seconds of the same without an answer (cut-over by swap)"
# Rows of 1 kB that pg_lz is not tried on.
FILL = "INSERT INTO bench_rows (value) SELECT repeat(md5(random()::text), 31) FROM generate_series(1, 50000)"


class Bench:
    """A lab, its PostgreSQL, and the runs on it."""

    def __init__(self, world: World, place: Place) -> None:
        self.world, self.place = world, place
        self.target: t.Any = POSTGRES.target(place)
        self.outcome = world.folder / "outcome-postgres.json"

    def play(self, playbook: str, variables: t.Mapping[str, t.Any], ok: t.Collection[int] = (0,)) -> dict[str, t.Any]:
        """Run a playbook on the lab and return its outcome; raises RuntimeError for another exit code."""
        self.outcome.unlink(missing_ok=True)
        told = json.dumps({"remediation_outcome_file": str(self.outcome), **variables})
        words = [PLAYBOOK, f"playbooks/{playbook}.yml", "-i", "inventories/lab", "-e", told]
        run(words, env={"SOMABRAIN_LAB_DIR": self.place.lab_dir}, ok=ok)
        return t.cast(t.Dict[str, t.Any], json.loads(self.outcome.read_text()))

    def killed(self) -> float:
        """Kill PostgreSQL and return the seconds until it is proven, with the API that lives on it."""
        self.target.kill()
        return timed(lambda: self._recovered(self.play("recover_database", {})))

    def _recovered(self, outcome: t.Mapping[str, t.Any]) -> None:
        if outcome["outcome"] != "recovered":
            raise RuntimeError(f"the outcome is {outcome['outcome']} instead of recovered")

    def fill(self, megabytes: int) -> None:
        """Put so many rows into the application's database, and back all of it up."""
        with contextlib.closing(self.target.connect(self.target.client, 600)) as link:
            link.execute("CREATE TABLE bench_rows (id bigserial PRIMARY KEY, value text NOT NULL)")
            for _part in range(megabytes // 50):
                link.execute(FILL)
        configuration = f"--config={self.place.lab_dir}/etc/pgbackrest.conf"
        self.target.run("pgbackrest", configuration, "--stanza=lab", "--type=full", "backup", seconds=600)
        time.sleep(1.1)

    def restore(self) -> tuple[float, float]:
        """Restore to this moment and swap; return the seconds of both runs, and those without an answer in them."""
        moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self.target.ask("DELETE FROM bench_rows WHERE id % 10 = 0", seconds=300)
        given = {"database_restore_target": moment, "database_restore_mode": "swap"}
        with downtime.Client(self.target.answers) as client:
            begun = time.monotonic()
            asked = self.play("restore_database", given, ok=(2,))
            reason = (asked.get("reasons") or [{}])[0]
            token = ((reason.get("plans") or [{}])[0]).get("token") or reason.get("token")
            done = self.play("restore_database", {**given, "remediation_approval": token})
            took = time.monotonic() - begun
        if done["outcome"] not in ("recovered", "recovered_with_loss"):
            raise RuntimeError(f"the outcome is {done['outcome']}")
        return took, client.seconds


def rows(world: World, quick: bool) -> t.Iterator[Row]:
    """Measure and yield the rows of PostgreSQL."""
    folder = world.folder / "lab"
    place = world.stack.enter_context(lanes.lab(folder))
    bench, runs = Bench(world, place), 2 if quick else 20
    yield Row(KILLED % runs, "10 s", interleaved({"killed": bench.killed}, runs, warm=0)["killed"], [], 10.0, limit=True)
    megabytes = 100 if quick else 1000
    work = RESTORED % megabytes
    if shutil.which("pgbackrest") is None or os.geteuid() != 0:
        why = "pgbackrest is not installed" if os.geteuid() == 0 else "only root becomes the user of the database"
        yield from (
            Row(name, wanted, [], [], limit, limit=True, why=why) for name, wanted, limit in ((work, "5 min", 300), (CUT_OVER, "10 s", 10))
        )
        return
    bench.fill(megabytes)
    took, down = bench.restore()
    yield Row(work, "5 min", [took], [], 300.0, limit=True)
    yield Row(CUT_OVER, "10 s", [down], [], 10.0, limit=True)
