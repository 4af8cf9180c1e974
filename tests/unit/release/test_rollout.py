# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way a Deployment goes back: by a digest, by a revision that still serves, or not at all; reckoned before anything is begun."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._release import rollout

GOOD, BAD = (f"sha256:{letter * 64}" for letter in "ab")
ROOM: dict[str, t.Any] = {"hard": {"pods": "9"}, "used": {"pods": "3"}, "name": "small", "scopes": []}
FULL = {**ROOM, "hard": {"pods": "3"}}


def template(image: str, **more: t.Any) -> dict[str, t.Any]:
    return {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "main", "image": image, **more}]}}


def replica_set(name: str, revision: str, image: str, replicas: int, **more: t.Any) -> dict[str, t.Any]:
    made = template(image, **more)
    made["metadata"]["labels"]["pod-template-hash"] = name
    metadata = {"name": f"api-{name}", "uid": name, "annotations": {rollout.REVISION: revision}}
    return {"metadata": metadata, "spec": {"replicas": replicas, "template": made}}


def pod(owner: str, digest: str, ready: bool = True, **metadata: t.Any) -> dict[str, t.Any]:
    return {
        "metadata": {"ownerReferences": [{"uid": owner}], **metadata},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "main", "imageID": f"shop/api@{digest}"}],
        },
    }


def read(quotas: list[dict[str, t.Any]] | None, **given: t.Any) -> dict[str, t.Any]:
    workload = {
        "kind": "Deployment", "metadata": {"annotations": {rollout.REVISION: "2"}},
        "spec": {"template": template("shop/api:2"), "strategy": given.get("strategy", {"type": "RollingUpdate", "rollingUpdate": {
            "maxUnavailable": 0, "maxSurge": 1}})},
    }  # fmt: skip
    sets = given.get("sets", [replica_set("one", "1", "shop/api:1", 2), replica_set("two", "2", "shop/api:2", 1)])
    pods = given.get("pods", [pod("one", GOOD), pod("one", GOOD), pod("two", BAD, ready=False)])
    seen: dict[str, t.Any] = {"desired": 2, "quotas": quotas, "takes": {"requests": {}, "limits": {}}}
    return {"service": {"workload": seen}, "workload": workload, "sets": sets, "pods": pods}


def way(quotas: list[dict[str, t.Any]] | None, **given: t.Any) -> dict[str, t.Any]:
    return rollout.way_of(rollout.rollout_of(read(quotas, **given), "main"), GOOD, f"shop/api@{GOOD}")


def test_where_a_new_pod_fits_the_digest_is_pinned() -> None:
    assert (way([ROOM])["set"], way([])["set"], way([ROOM])["refused"]) == ("", "", "")
    # The pod that does not serve goes first, and its place is enough.
    assert way([FULL])["set"] == ""


NO_BROKEN = {"pods": [pod("one", GOOD), pod("one", GOOD)]}


def test_where_none_fits_the_revision_that_serves_needs_none() -> None:
    found = way([FULL], **NO_BROKEN)
    assert (found["set"], found["set_before"], found["differs"], found["refused"]) == ("api-one", "api-two", [], "")
    assert "by its revision 1, whose 2 pods still serve (image shop/api:1)" in found["text"]
    assert "quota small: 3 of 3 pods are used" in found["text"]
    hidden = way(None, **NO_BROKEN)
    assert (hidden["set"], "may not read" in hidden["text"]) == ("api-one", True)


NOWHERE: dict[str, dict[str, t.Any]] = {
    "its pods run another image": {"pods": [pod("one", BAD), pod("one", BAD)]},
    "its pods are gone": {"pods": []},
    "its pods are not ready": {"pods": [pod("one", GOOD, ready=False)]},
    "its pods are leaving": {"pods": [pod("one", GOOD, deletionTimestamp="now")]},
    "it lacks pods, too": {"sets": [replica_set("one", "1", "shop/api:1", 1), replica_set("two", "2", "shop/api:2", 1)],
                           "pods": [pod("one", GOOD)]},
}  # fmt: skip


@pytest.mark.parametrize("given", NOWHERE.values(), ids=list(NOWHERE))
def test_what_would_be_stuck_is_refused_by_the_quota(given: dict[str, t.Any]) -> None:
    assert "none fits (quota small: 3 of 3 pods are used)" in way([FULL], **given)["refused"]


def test_what_takes_an_old_pod_first_needs_no_room_of_its_own() -> None:
    for strategy in ({"type": "Recreate"}, {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}):
        found = way([FULL], strategy=strategy, **NO_BROKEN)
        assert (found["set"], found["refused"]) == ("", "")
    assert way([FULL], strategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}}, **NO_BROKEN)["set"] == "api-one"


def test_what_else_a_revision_changes_is_named_without_its_values() -> None:
    one = replica_set("one", "1", "shop/api:1", 2, env=[{"name": "PASSWORD", "value": "hush"}])
    one["spec"]["template"]["metadata"]["labels"]["tier"] = "back"
    one["spec"]["template"]["spec"]["priorityClassName"] = "high"
    found = way([FULL], sets=[one, replica_set("two", "2", "shop/api:2", 1)], **NO_BROKEN)
    assert found["differs"] == ["labels", "pod priorityClassName", "env of container main"]


def test_what_is_no_deployment_or_hidden_is_left_as_it_was() -> None:
    hidden: list[dict[str, t.Any]] = [{"sets": None}, {"sets": []}]
    assert [way([FULL], **more)["set"] for more in hidden] == ["", ""]
    assert rollout.rollout_of({**read([FULL]), "sets": None}, "main") == {}
