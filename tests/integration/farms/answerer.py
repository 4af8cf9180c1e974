# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that answers HTTP in one of the ways that services do: ``answerer.py PORT [WAY [FILE]]``. Standard library only.

Ways: ``forks`` (ends, and goes on in the background), ``workers`` (only a child holds the socket), ``activated`` (was given its socket by
systemd), ``hangs`` (takes connections and never answers), ``holds`` (as that, with FILE open for writing), ``sqlite`` (as that, with an
SQLite database open), ``elsewhere`` (listens at one port more).
"""

from __future__ import annotations

import http.server
import os
import socket
import sqlite3
import sys
import time

BODY = b'{"status": "green"}'
PORT, WAY = int(sys.argv[1]), (sys.argv[2:] or [""])[0]
HANGS = WAY in ("hangs", "holds", "sqlite")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(600 if HANGS else 0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_told: object) -> None:
        """Say nothing."""


def main() -> None:
    address = ("0.0.0.0" if WAY == "open" else "127.0.0.1", PORT + (WAY == "elsewhere"))  # noqa: S104 - a container's own address
    server = http.server.ThreadingHTTPServer(address, Handler, bind_and_activate=WAY != "activated")
    if WAY == "activated":
        server.socket = socket.socket(fileno=3)
    if WAY == "forks" and os.fork():
        os._exit(0)
    if WAY == "workers" and os.fork():
        server.socket.close()
        time.sleep(10**6)
    kept = open(sys.argv[3], "ab") if WAY == "holds" else None  # noqa: SIM115 - open for as long as it lives
    if WAY == "sqlite":
        link = sqlite3.connect(sys.argv[3])
        link.execute("pragma journal_mode=wal")
        link.execute("create table if not exists a (b)")
    print("ready", kept, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
