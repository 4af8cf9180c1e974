# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real nginx before real backends, in a directory and on ports of its own; the backends are a second nginx."""

from __future__ import annotations

import collections
import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

from farms.waiting import until
from somabrain_drill.ports import free_port

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
POOL = "somabrain"
OPERATOR = "127.0.0.2"
OVERFLOW = '{"detail":"maintenance"}'
PAGE = Path(__file__).resolve().parents[3] / "docs/nginx.md"
_MAIN = """\
{user}worker_processes 2;
pid {root}/nginx.pid;
error_log {root}/error.log notice;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
{http}
}}
"""
_BACKEND = """\
    server {{
        listen 127.0.0.1:{port};
        location = /health {{ if (!-f {root}/{name}.well) {{ return 503; }} return 200 "{{\\"status\\": \\"ok\\"}}"; }}
        location = /own503 {{ return 503 "of the application"; }}
        location = /fragile {{ if (!-f {root}/fragile) {{ return 503; }} return 200; }}
        location = /slow {{ root {root}; limit_rate 100k; }}
        location / {{ return 200 "{name}"; }}
    }}
"""


def page() -> list[str]:
    """Return the files of the page: what belongs into nginx.conf, the upstreams, and the switch."""
    return re.findall(r"^```nginx\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


class Answer(t.NamedTuple):
    status: int
    body: str
    headers: dict[str, str]


class Farm:
    """A front nginx with api1, api2 (main), spare and overflow (which answers 503) behind it."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.ports = {name: free_port() for name in ("api1", "api2", "spare", "overflow")}
        self.upstreams, self.maintenance = root / "upstream.conf", root / "maintenance.conf"
        (root / "behind").mkdir()
        for name in ("api1", "api2", "spare"):
            self.well(name, True)
        front, upstreams, switch = (self.own(text) for text in page())
        self.upstreams.write_text(upstreams)
        self.maintenance.write_text(switch)
        self.front = "limit_req_zone $binary_remote_addr zone=clients:64k rate=100000r/s;\n" + front
        self.write_front(self.front)
        behind = "".join(
            _BACKEND.format(root=root / "behind", name=name, port=port) for name, port in self.ports.items() if name != "overflow"
        )
        (root / "behind/nginx.conf").write_text(_main(root / "behind", behind))
        (root / "behind/slow").write_bytes(b"x" * 500_000)

    def own(self, text: str) -> str:
        """Return *text* of the page with the ports, addresses and folders of this farm."""
        ports = {"10.0.0.11:9696": "api1", "10.0.0.12:9696": "api2", "10.0.0.21:9696": "spare", "127.0.0.1:8503": "overflow"}
        for address, name in ports.items():
            text = text.replace(address, f"127.0.0.1:{self.ports[name]}")
        for old, new in (("/etc/nginx/somabrain", self.root), ("listen 80;", f"listen 127.0.0.1:{self.port};"), ("10.9.0.0/24", OPERATOR)):
            text = text.replace(old, str(new))
        return text

    def write_front(self, http: str) -> None:
        (self.root / "nginx.conf").write_text(_main(self.root, http))

    def well(self, name: str, answers: bool) -> None:
        mark = self.root / "behind" / f"{name}.well"
        if answers:
            mark.touch()
        else:
            mark.unlink()

    @property
    def command(self) -> list[str]:
        return [str(NGINX), "-p", str(self.root), "-e", str(self.root / "error.log"), "-c", str(self.root / "nginx.conf")]

    @property
    def options(self) -> dict[str, t.Any]:
        return {
            "balancer": "nginx", "pool": POOL, "nginx_command": self.command, "nginx_pid_file": str(self.root / "nginx.pid"),
            "nginx_error_log": str(self.root / "error.log"), "nginx_upstream_file": str(self.upstreams),
            "nginx_maintenance_file": str(self.maintenance), "nginx_health_path": "/health",
        }  # fmt: skip

    def start(self) -> None:
        behind = self.root / "behind"
        words = [str(NGINX), "-p", str(behind), "-e", str(behind / "error.log"), "-c", str(behind / "nginx.conf")]
        subprocess.run(words, check=True, timeout=30)
        subprocess.run(self.command, check=True, timeout=30)
        until(lambda: self.pid("behind/nginx.pid") and self.pid() and len(self.workers()) == 2)
        # What is changed within two hundredths of a second of a start cannot be told from what was loaded.
        time.sleep(0.05)

    def pid(self, name: str = "nginx.pid") -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self.root / name).read_text())
        return 0

    def reload(self) -> None:
        """Reload as a person would, and wait for the new workers."""
        before = self.workers()
        subprocess.run([*self.command, "-s", "reload"], check=True, timeout=30)
        until(lambda: self.workers() and not set(before) & set(self.workers()))

    def workers(self) -> list[int]:
        return [child for child in children(self.pid()) if title(child) == "nginx: worker process"]

    def stop(self) -> None:
        for pid in filter(None, [self.pid(), self.pid("behind/nginx.pid")]):
            for number in (signal.SIGCONT, signal.SIGTERM) if title(pid).startswith("nginx") else ():
                os.kill(pid, number)
            wait_for_end(pid)

    def get(self, path: str = "/", source: str = "", method: str = "GET", body: bytes | None = None) -> Answer:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(source, 0) if source else None)
        with contextlib.closing(client):
            client.request(method, path, body=body)
            answer = client.getresponse()
            return Answer(answer.status, answer.read().decode(), dict(answer.getheaders()))

    def spread(self, count: int = 200) -> dict[str, int]:
        """Return how many of *count* requests each server answered."""
        names = {OVERFLOW: "overflow"}
        bodies = (self.get().body for _turn in range(count))
        return dict(collections.Counter(names.get(body, body) for body in bodies))


class Load:
    """*rate* requests a second from four clients, two of which keep their connections; counts what came back and what did not.

    A kept connection that the server closed before any byte of an answer is asked again on a new one, as HTTP wants it of a client
    (RFC 9112, 9.3.1); that is counted too.
    """

    def __init__(self, farm: Farm, rate: int) -> None:
        self.farm, self.pause = farm, 4.0 / rate
        self.answers: collections.Counter[int] = collections.Counter()
        self.lost: list[str] = []
        self.again = 0
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number % 2 == 0,)) for number in range(4)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, keeps: bool) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self.farm.port, timeout=30)
        due = time.monotonic()
        while not self._end.is_set():
            self._one(client)
            if not keeps:
                client.close()
            due += self.pause
            self._end.wait(max(0.0, due - time.monotonic()))
        client.close()

    def _one(self, client: http.client.HTTPConnection) -> None:
        reused = client.sock is not None
        for last in (not reused, True):
            try:
                client.request("GET", "/")
                answer = client.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                client.close()
                if last or not isinstance(error, (ConnectionResetError, BrokenPipeError)):
                    with self._lock:
                        self.lost.append(repr(error))
                    return
                with self._lock:
                    self.again += 1
            else:
                with self._lock:
                    self.answers[answer.status] += 1
                return


def _main(root: Path, http_block: str) -> str:
    return _MAIN.format(root=root, http=http_block, user="user root root;\n" if os.geteuid() == 0 else "")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def title(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    return ""


def wait_for_end(pid: int) -> None:
    until(lambda: not title(pid).startswith("nginx"))


@contextlib.contextmanager
def running(root: Path) -> t.Iterator[Farm]:
    farm = Farm(root)
    try:
        farm.start()
        yield farm
    finally:
        farm.stop()
