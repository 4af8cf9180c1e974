# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In what a new container would differ from the present one, setting by setting, as a table: what the file says and what Docker has."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import differs, project

IMAGE: dict[str, t.Any] = {
    "User": "app", "Env": ["PATH=/bin"], "Cmd": ["serve"], "Entrypoint": ["/run.sh"], "WorkingDir": "/app", "Labels": {"built": "today"},
    "Volumes": {"/scratch": {}}, "Healthcheck": {"Test": ["CMD", "test", "-e", "/well"], "Interval": 5000000000},
}  # fmt: skip
MODEL: dict[str, t.Any] = {
    "volumes": {"data": {"name": "shop_data"}, "other": {"name": "shop_other"}},
    "networks": {"default": {"name": "shop_default"}, "back": {"name": "shop_back"}},
    "secrets": {"token": {"name": "shop_token", "file": "/srv/shop/token"}},
}
# What Docker has of a container made from SERVICE.
SERVICE: dict[str, t.Any] = {
    "image": "shop/api:1", "environment": {"A": "1", "PASSWORD": "a$$b"}, "networks": {"default": None}, "restart": "unless-stopped",
    "volumes": [{"type": "volume", "source": "data", "target": "/data", "volume": {}},
                {"type": "bind", "source": "/etc/shop", "target": "/etc/shop", "read_only": True, "bind": {"create_host_path": True}}],
    "ports": [{"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"}],
    "command": None, "entrypoint": None, "mem_limit": "268435456", "cpus": 0.5, "labels": {"team": "shop", "built": "today"},
    "secrets": [{"source": "token"}], "ulimits": {"nofile": {"soft": 1024, "hard": 2048}}, "stop_grace_period": "1m30s",
    "extra_hosts": ["db=10.0.0.5"],
}  # fmt: skip


def seen() -> dict[str, t.Any]:
    own = "f" * 64
    return {
        "Config": {
            "Image": "shop/api:1", "User": "app", "Env": ["A=1", "PASSWORD=a$b", "PATH=/bin"], "Cmd": ["serve"], "Entrypoint": ["/run.sh"],
            "WorkingDir": "/app", "Labels": {"built": "today", "team": "shop", "com.docker.compose.project": "shop"}, "StopTimeout": 90,
            "Healthcheck": {"Test": ["CMD", "test", "-e", "/well"], "Interval": 5000000000},
        },
        "HostConfig": {
            "NetworkMode": "shop_default", "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}, "Memory": 268435456,
            "MemorySwap": 536870912, "NanoCpus": 500000000, "PidsLimit": None, "ShmSize": 67108864, "ExtraHosts": ["db:10.0.0.5"],
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, "Init": None, "CapAdd": None, "SecurityOpt": None,
            "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 2048}], "LogConfig": {"Type": "json-file", "Config": {}},
        },
        "Mounts": [
            {"Type": "volume", "Name": "shop_data", "Source": "/var/lib/docker/x", "Destination": "/data", "RW": True},
            {"Type": "bind", "Source": "/etc/shop", "Destination": "/etc/shop", "RW": False},
            {"Type": "bind", "Source": "/srv/shop/token", "Destination": "/run/secrets/token", "RW": False},
            {"Type": "volume", "Name": own, "Source": "/var/lib/docker/y", "Destination": "/scratch", "RW": True},
        ],
        "NetworkSettings": {"Networks": {"shop_default": {"IPAMConfig": None, "IPAddress": "172.18.0.2"}}},
    }  # fmt: skip


def told(service: dict[str, t.Any], model: dict[str, t.Any] | None = None) -> list[str]:
    wanted = differs.Wanted({**SERVICE, **service}, {**MODEL, **(model or {})}, IMAGE)
    return [one.text for one in differs.changes(wanted, seen())]


def test_a_container_made_from_these_files_differs_in_nothing() -> None:
    assert told({}) == []


CHECK = {"test": ["CMD", "true"], "interval": "10s"}
VOLUME = {"type": "volume", "source": "other", "target": "/data"}
CHANGES: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "another volume in its place": (
        {"volumes": [VOLUME, SERVICE["volumes"][1]]}, ["volume /data: volume shop_other instead of volume shop_data"]),
    "one more volume": ({"volumes": [*SERVICE["volumes"], {**VOLUME, "target": "/more"}]},
                        ["volume /more: volume shop_other instead of none"]),
    "a volume less": ({"volumes": SERVICE["volumes"][1:]}, ["volume /data: none instead of volume shop_data"]),
    "a directory that may be written": (
        {"volumes": [SERVICE["volumes"][0], {**SERVICE["volumes"][1], "read_only": False}]},
        ["volume /etc/shop: bind /etc/shop instead of bind /etc/shop (read only)"]),
    "no secret": ({"secrets": []}, ["volume /run/secrets/token: none instead of bind /srv/shop/token (read only)"]),
    "another port": ({"ports": [{**SERVICE["ports"][0], "published": "8081"}]}, ["port 80/tcp: 8081 instead of 8080"]),
    "a port of one address": (
        {"ports": [{**SERVICE["ports"][0], "host_ip": "127.0.0.1"}]}, ["port 80/tcp: 127.0.0.1:8080 instead of 8080"]),
    "no port": ({"ports": []}, ["port 80/tcp: none instead of 8080"]),
    "another network": ({"networks": {"back": None}},
                        ["network shop_back: joined instead of none", "network shop_default: none instead of joined"]),
    "the network of the host": ({"network_mode": "host"},
                                ["network host: joined instead of none", "network shop_default: none instead of joined"]),
    "another address": ({"networks": {"default": {"ipv4_address": "172.18.0.9"}}},
                        ["network shop_default: joined as 172.18.0.9 instead of joined"]),
    "a command": ({"command": ["serve", "--token", "hush"]}, ["command"]),
    "an entrypoint, which leaves the image's command out": ({"entrypoint": ["/other.sh"]}, ["entrypoint", "command"]),
    "another user": ({"user": "root"}, ["user: root instead of app"]),
    "another directory": ({"working_dir": "/srv"}, ["working_dir: /srv instead of /app"]),
    "less memory": ({"mem_limit": None, "deploy": {"resources": {"limits": {"memory": "128M"}}}},
                    ["memory limit: 134217728 instead of 268435456"]),
    "no limit at all": ({"mem_limit": None}, ["memory limit: 0 instead of 268435456"]),
    "fewer processors": ({"cpus": 0.25}, ["cpus: 0.25 instead of 0.5"]),
    "a limit of processes": ({"pids_limit": 10}, ["pids limit: 10.0 instead of 0.0"]),
    "no healthcheck": ({"healthcheck": {"disable": True}}, ["healthcheck"]),
    "another healthcheck": ({"healthcheck": CHECK}, ["healthcheck"]),
    "the image's healthcheck, written down": ({"healthcheck": {"test": IMAGE["Healthcheck"]["Test"], "interval": "5s"}}, []),
    "variables": ({"environment": {"A": "2", "NEW": "x"}}, ["~A", "+NEW", "-PASSWORD"]),
    "a label": ({"labels": {"team": "other"}}, ["labels"]),
    "no restart": ({"restart": "no"}, ["restart: no instead of unless-stopped"]),
    "more rights": ({"privileged": True, "cap_add": ["NET_ADMIN"]},
                    ["privileged: True instead of False", "cap_add: NET_ADMIN instead of none"]),
    "fewer files": ({"ulimits": {"nofile": 512}}, ["ulimits: nofile 512:512 instead of nofile 1024:2048"]),
    "less time to stop": ({"stop_grace_period": "10s"}, ["stop_grace_period: 10.0 instead of 90"]),
    "another address of a name": ({"extra_hosts": ["db=10.0.0.6"]}, ["extra_hosts: db:10.0.0.6 instead of db:10.0.0.5"]),
    "a log that grows": ({"logging": {"driver": "json-file", "options": {"max-size": "1g"}}}, ["logging"]),
    "memory as a directory": ({"tmpfs": ["/cache:size=1m"]}, ["tmpfs: /cache instead of none"]),
    "a device": ({"devices": ["/dev/fuse"]}, ["devices: /dev/fuse:/dev/fuse instead of none"]),
    "a root that is not written": ({"read_only": True}, ["read_only: True instead of False"]),
    "no protection": ({"security_opt": ["seccomp:unconfined"]}, ["security_opt"]),
}  # fmt: skip


@pytest.mark.parametrize(("service", "expected"), CHANGES.values(), ids=list(CHANGES))
def test_each_setting_that_would_be_another_one_is_told(service: dict[str, t.Any], expected: list[str]) -> None:
    assert told(service) == expected


def test_names_of_volumes_and_networks_are_those_of_the_whole_project() -> None:
    assert told({}, {"volumes": {"data": {"name": "elsewhere"}}}) == ["volume /data: volume elsewhere instead of volume shop_data"]
    assert told({}, {"networks": {"default": {"name": "wide"}}})[0] == "network shop_default: none instead of joined"


def test_where_the_settings_are_the_same_only_names_can_differ() -> None:
    model = {**MODEL, "volumes": {"data": {"name": "elsewhere"}}, "networks": {"default": {"name": "wide"}}}
    wanted = differs.Wanted({**SERVICE, "secrets": [], "user": "root"}, model, IMAGE)
    kept = [one.text for one in differs.names_changed(differs.changes(wanted, seen()))]
    assert kept == ["volume /data: volume elsewhere instead of volume shop_data", "network shop_default: none instead of joined",
                    "network wide: joined instead of none"]  # fmt: skip


def test_no_value_that_may_be_secret_is_told() -> None:
    changed = {"environment": {"PASSWORD": "hush"}, "command": ["hush"], "labels": {"x": "hush"}, "entrypoint": ["hush"],
               "healthcheck": {"test": ["CMD", "hush"]}, "logging": {"driver": "syslog", "options": {"token": "hush"}}}  # fmt: skip
    assert "hush" not in " ".join(told(changed))
    many = told({"environment": {f"V{number:02}": "" for number in range(30)}})
    # What is cut could be what matters.
    assert len([one for one in many if one.startswith("+V")]) == 30


def test_the_fingerprint_of_the_settings_leaves_the_image_out() -> None:
    def of(**more: t.Any) -> str:
        return project.fingerprint({"service": {**SERVICE, **more}, "model": MODEL})

    assert of() == of(image="x", pull_policy="never")
    assert len({of(), of(user="root"), project.fingerprint({"service": SERVICE, "model": {}})}) == 3
