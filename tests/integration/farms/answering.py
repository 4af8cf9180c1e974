# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A unix socket behind which is not what one hopes for."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import typing as t


@contextlib.contextmanager
def answering(path: str, answer: bytes | None) -> t.Iterator[None]:
    """Give one connection on the socket at *path* that answer; None drips for half a minute."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(5)
        thread = threading.Thread(target=_answer, args=(server, answer))
        thread.start()
        yield
        thread.join()


def _answer(server: socket.socket, answer: bytes | None) -> None:
    connection, dummy = server.accept()
    with connection:
        if answer is not None:
            connection.recv(65536)
            connection.sendall(answer)
            return
        with contextlib.suppress(OSError):
            for _turn in range(300):
                connection.sendall(b"x")
                time.sleep(0.1)
