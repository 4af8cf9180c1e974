# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that answers 200 on 9696: not while /run/toy-api.hangs has its pid, and it ends at once while /run/toy-api.broken is there."""

from __future__ import annotations

import http.server
import os
import sys
import time
from pathlib import Path

HANGS, BROKEN = Path("/run/toy-api.hangs"), Path("/run/toy-api.broken")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers, or lets its client wait."""

    def do_GET(self) -> None:
        while HANGS.exists() and HANGS.read_text(encoding="utf-8").strip() == str(os.getpid()):
            time.sleep(0.1)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    if BROKEN.exists():
        sys.exit("cannot go on")
    http.server.ThreadingHTTPServer(("127.0.0.1", 9696), Handler).serve_forever()
