"""One try of one webhook: is the address allowed, the signature, the post, and what the answer means.

A receiver's address is typed by people and names resolve to what their owners like, so every try checks the name and
every address behind it, and connects to exactly the addresses it has checked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook
from yarl import URL

from schemas.settings import Endpoint
from streams.errors import UsageError

Outcome = Literal[
    "delivered", "redirected", "gone", "throttled", "refused", "failed", "timeout", "unreachable", "forbidden"
]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]

PORTS = (443, 8443)
RETRY_AFTER_MAX_S = 3600.0
SECRET_BYTES = range(24, 65)
INTERNAL = (".local", ".localhost", ".internal", ".localdomain", ".lan", ".intranet", ".home.arpa")
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
UNICAST = ipaddress.ip_network(
    "2000::/3"
)  # all of IPv6 that is given out; NAT64, site-local and the like lie beside it
# Multicast, Teredo and 6to4: `is_global` lets these through, or speaks of the wrapper instead of what is inside.
NEVER = [ipaddress.ip_network(text) for text in ("224.0.0.0/4", "2001::/32", "2002::/16")]
# What `allow_private` opens, and nothing else: never link-local, where clouds answer with credentials.
PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]


class Answer(NamedTuple):
    """What came of a try. `retry_after_s` is the pause the receiver asked for, 0 = none."""

    outcome: Outcome
    status: int = 0
    retry_after_s: float = 0.0


class Forbidden(OSError):
    """An address that is never posted to."""


class Receiver:
    """One endpoint, ready to be posted to. `post` never raises for anything a receiver or a network can do."""

    def __init__(
        self,
        endpoint: Endpoint,
        wall: Callable[[], float],
        *,
        allow_private: bool = False,
        timeout_s: float = 10.0,
        lookup: Lookup | None = None,
    ) -> None:
        """Raises `UsageError` for an address or a secret that can never work."""
        self.name, self.wall, self.allow_private = endpoint.name, wall, allow_private
        self.url = str(endpoint.url)
        self._signer = signer(endpoint.name, endpoint.secret.get_secret_value())
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._lookup = lookup or look_up
        if reason := refusal(self.url, allow_private=allow_private):
            raise UsageError(
                f"endpoint {endpoint.name}: {reason}", remedy="correct it in MEMBERFLOW_DISPATCHER__ENDPOINTS"
            )

    async def post(self, contact_id: str, body: bytes) -> Answer:
        """Send the exact bytes once. The answer's body is not read, a redirect not followed."""
        if refusal(self.url, allow_private=self.allow_private):
            return Answer("forbidden")
        resolver = CheckedResolver(self._lookup, allow_private=self.allow_private)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False) as session:
            try:
                headers = self._headers(contact_id, body)
                async with session.post(URL(self.url), data=body, headers=headers, allow_redirects=False) as response:
                    return judge(response.status, response.headers.get("Retry-After", ""), self.wall())
            except TimeoutError:
                return Answer("timeout")
            except (aiohttp.ClientError, OSError, ValueError) as error:
                inner = getattr(error, "os_error", error)
                return Answer("forbidden" if isinstance(inner, Forbidden) else "unreachable")

    def _headers(self, contact_id: str, body: bytes) -> dict[str, str]:
        now = dt.datetime.fromtimestamp(int(self.wall()), tz=dt.UTC)  # UTC: the library relabels other zones
        return {
            "content-type": "application/json",
            "user-agent": "memberflow",
            "webhook-id": contact_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(contact_id, now, body.decode()),
        }


class CheckedResolver(AbstractResolver):
    """Resolves once; refuses the name if any of its addresses is forbidden; aiohttp connects to what it returns."""

    def __init__(self, lookup: Lookup, *, allow_private: bool) -> None:
        self._lookup, self._allow_private = lookup, allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name, all of them allowed."""
        addresses = [ipaddress.ip_address(text) for text in await self._lookup(host, port)]
        if not addresses or not all(allowed(it, allow_private=self._allow_private) for it in addresses):
            raise Forbidden(f"{host} has an address that is never posted to")
        return [
            ResolveResult(
                hostname=host,
                host=str(it),
                port=port,
                family=socket.AF_INET if it.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for it in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, as the machine's resolver tells them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[4][0]).partition("%")[0] for place in found]


def judge(status: int, retry_after: str, now: float) -> Answer:
    """What a status means; only 2xx is success."""
    wait = asked_pause(retry_after, now)
    if 200 <= status < 300:
        return Answer("delivered", status)
    if 300 <= status < 400:
        return Answer("redirected", status, wait)
    if status == 410:
        return Answer("gone", status)
    if status in (429, 502, 503, 504):
        return Answer("throttled", status, wait)
    return Answer("refused" if status < 500 else "failed", status, wait)


def asked_pause(retry_after: str, now: float) -> float:
    """Seconds of a Retry-After, given in seconds or as a date: at most an hour, 0 for what cannot be read."""
    try:
        if retry_after.strip().isascii() and retry_after.strip().isdigit():
            seconds = float(retry_after)
        else:
            seconds = parsedate_to_datetime(retry_after).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), RETRY_AFTER_MAX_S)


def refusal(text: str, *, allow_private: bool = False) -> str:
    """Why nothing is ever posted to a URL, or "" when its name may be looked up."""
    if re.search(r"[\\\s\x00-\x20\x7f]|%5c", text, re.IGNORECASE):
        return "a backslash, a blank or a control character in the URL"
    try:
        url = URL(text)
        host, port = (url.raw_host or "").rstrip(".").lower(), url.port
    except ValueError:
        return "not a URL"
    if url.scheme != "https" and not (allow_private and url.scheme == "http"):
        return "only https is posted to"
    if "@" in re.split("[/?#]", text.partition("://")[2])[0]:
        return "a user or password in the URL"
    if not allow_private and port not in PORTS:
        return f"port {port} is not one of {', '.join(map(str, PORTS))}"
    return _host_refusal(host, allow_private=allow_private)


def _host_refusal(host: str, *, allow_private: bool) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if not host or NUMERIC.fullmatch(host.rpartition(".")[2]):
            return "not a host name"  # decimal, octal and short forms of an IP address
        if allow_private:
            return ""
        internal = "." not in host or host.endswith(INTERNAL) or host.endswith(".cluster.local")
        return "an internal name" if internal else ""
    if allow_private and allowed(address, allow_private=True):
        return ""
    return "an IP address instead of a name"


def allowed(address: Address, *, allow_private: bool = False) -> bool:
    """Whether an address may be connected to: public ones; with `allow_private` also loopback and private ranges."""
    if allow_private and any(address in network for network in PRIVATE if network.version == address.version):
        return True
    if address.version == 6 and address not in UNICAST:
        return False
    return address.is_global and not any(address in network for network in NEVER if network.version == address.version)


def signer(name: str, secret: str) -> Webhook:
    """The signer of an endpoint's secret: `whsec_` and 24 to 64 bytes in base64. Raises `UsageError`."""
    prefix, _, encoded = secret.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if prefix != "whsec" or len(key) not in SECRET_BYTES:
        raise UsageError(
            f"endpoint {name}: its secret is not whsec_ and base64 of 24 to 64 bytes",
            remedy="agree on one with the receiver: `openssl rand -base64 32`",
        )
    return Webhook(key)
