"""Who may ask what listens on loopback without a password: processes of this machine, not what its browser opens."""

from __future__ import annotations

from aiohttp import web

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


def refused_request(request: web.Request) -> str | None:
    """Why a request is not answered. A web page in this machine's browser reaches loopback too: it names its origin, or
    a strange host.
    """
    if "Origin" in request.headers:
        return "not for web pages"
    host = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    local = request.transport is not None and request.transport.get_extra_info("sockname")[0] in LOOPBACK
    return f"not for {host}" if local and host not in LOOPBACK else None
