"""A receiver of webhooks that behaves as told, and verifies signatures by the words of the specification."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple, Self

import msgspec
from aiohttp import web
from aiohttp.test_utils import unused_port

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Received(NamedTuple):
    """One request as it came."""

    path: str
    id: str
    timestamp: str
    signature: str
    content_type: str
    body: bytes

    @property
    def event(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])

    def holds(self, secret: str = SECRET) -> bool:
        """The signature by the specification, without the library: HMAC-SHA256 of id.timestamp.body."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = b".".join((self.id.encode(), self.timestamp.encode(), self.body))
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return expected in self.signature.split(" ")


# A status, a status with headers, or a way to misbehave.
Behaviour = int | tuple[int, dict[str, str]] | str


class ReceiverStub:
    """Answers what it is told to, in order, then `then`. Listens on loopback, on a port that was free."""

    def __init__(self, answers: Iterable[Behaviour] = (), then: Behaviour = 204) -> None:
        self.answers, self.then = list(answers), then
        self.requests: list[Received] = []
        self.port = unused_port()
        self.release = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.requests]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        webhook = [request.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
        content_type = request.headers.get("content-type", "")
        body = await request.read()
        self.requests.append(Received(request.path, webhook[0], webhook[1], webhook[2], content_type, body))
        behaviour = self.answers.pop(0) if self.answers else self.then
        if behaviour == "hang":
            await self.release.wait()
            return web.Response()
        if behaviour == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, more = behaviour if isinstance(behaviour, tuple) else (behaviour, {})
        assert isinstance(status, int)
        return web.Response(status=status, headers=more)
