# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on loopback whose every answer takes 50 ms; any number at once. Prints its port."""

from __future__ import annotations

import asyncio

SECONDS = 0.05
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class Endpoint(asyncio.Protocol):
    """One connection: the first bytes are the request, the answer comes after its time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.asked = False

    def data_received(self, _data: bytes) -> None:
        if not self.asked:
            self.asked = True
            asyncio.get_running_loop().call_later(SECONDS, self.answer)

    def answer(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport) and not self.transport.is_closing():
            self.transport.write(ANSWER)
            self.transport.close()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
