"""One try of a webhook: what may be posted to, how it is signed, and what an answer means."""

import base64
import datetime as dt
import ipaddress
import time
from collections.abc import Sequence
from email.utils import format_datetime

import pytest
from pydantic import HttpUrl, SecretStr
from standardwebhooks import Webhook

from schemas.settings import Endpoint
from streams.errors import UsageError
from streams.webhook import (
    CheckedResolver,
    Forbidden,
    Lookup,
    Receiver,
    allowed,
    asked_pause,
    judge,
    refusal,
    signer,
)
from tests.streams.receiver import SECRET, Behaviour, ReceiverStub

NOW = 1_800_000_000.0
ID = "00112233445566778899aabbccddeeff"
BODY = '{"type":"tier.entered","data":{"member":"阿"}}'.encode()


def endpoint(url: str, secret: str = SECRET) -> Endpoint:
    return Endpoint(name="coupons", url=HttpUrl(url), secret=SecretStr(secret))


def local(stub: ReceiverStub, timeout_s: float = 5.0) -> Receiver:
    return Receiver(endpoint(stub.url), lambda: NOW, allow_private=True, timeout_s=timeout_s)


# -- signature ----------------------------------------------------------------------------------------------------


def test_the_signature_of_the_specifications_own_example() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    at = dt.datetime.fromtimestamp(1614265330, tz=dt.UTC)
    signature = signer("x", secret).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, '{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_post_is_signed_so_that_any_receiver_can_verify_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        async with ReceiverStub() as stub:
            receiver = Receiver(endpoint(stub.url), time.time, allow_private=True)  # noqa: TID251 - the library's clock
            assert (await receiver.post(ID, BODY)).outcome == "delivered"
    finally:
        monkeypatch.undo()
        time.tzset()
    (request,) = stub.requests
    assert request.holds()
    assert not request.holds("whsec_" + base64.b64encode(bytes(32)).decode())
    headers = {
        "webhook-id": request.id,
        "webhook-timestamp": request.timestamp,
        "webhook-signature": request.signature,
    }
    Webhook(SECRET).verify(request.body, headers)
    assert (request.id, request.body, request.content_type) == (ID, BODY, "application/json")


@pytest.mark.parametrize(
    "secret",
    ["", "secret", "whsec_", "whsec_AAAA", "whsec_!" + "A" * 43, "whsk_" + "A" * 44, "whsec_" + "A" * 100],
)
def test_a_secret_that_is_none_is_told_without_being_shown(secret: str) -> None:
    with pytest.raises(UsageError, match="endpoint coupons") as told:
        Receiver(endpoint("https://hooks.example.com/x", secret), lambda: NOW)
    assert len(secret) < 8 or secret not in str(told.value)


# -- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "outcome", "pause"),
    [
        (200, "delivered", 0),
        (204, "delivered", 0),
        (299, "delivered", 0),
        ((302, {"Location": "/elsewhere"}), "redirected", 0),
        ((307, {"Location": "http://169.254.169.254/latest"}), "redirected", 0),
        (400, "refused", 0),
        (404, "refused", 0),
        (410, "gone", 0),
        ((429, {"Retry-After": "7"}), "throttled", 7),
        ((429, {"Retry-After": "86400"}), "throttled", 3600),
        ((503, {"Retry-After": "-5"}), "throttled", 0),
        ((503, {"Retry-After": "soon"}), "throttled", 0),
        (500, "failed", 0),
        (502, "throttled", 0),
        ("reset", "unreachable", 0),
        ("hang", "timeout", 0),
    ],
)
async def test_what_an_answer_means(behaviour: Behaviour, outcome: str, pause: float) -> None:
    async with ReceiverStub([behaviour]) as stub:
        answer = await local(stub, timeout_s=0.3 if behaviour == "hang" else 5.0).post(ID, BODY)
    assert (answer.outcome, answer.retry_after_s) == (outcome, pause)
    assert [request.path for request in stub.requests] == ["/hook"], "a redirect was followed"


async def test_nobody_listening_is_unreachable() -> None:
    assert (await local(ReceiverStub()).post(ID, BODY)).outcome == "unreachable"


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ReceiverStub() as proxy, ReceiverStub() as stub:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        await local(stub).post(ID, BODY)
    assert (len(proxy.requests), len(stub.requests)) == (0, 1)


def test_a_pause_may_be_asked_for_as_a_date() -> None:
    date = format_datetime(dt.datetime.fromtimestamp(NOW + 90, tz=dt.UTC), usegmt=True)
    assert asked_pause(date, NOW) == 90
    assert judge(429, date, NOW + 100).retry_after_s == 0


# -- where nothing is ever posted to ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "ftp://hooks.example.com/x",
        "file:///etc/passwd",
        "https://user:pass@hooks.example.com/",
        "https://hooks.example.com@127.0.0.1/",
        "https://@hooks.example.com/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://a\\@b.example.com/",
        "https://hooks.example.com%5c@127.0.0.1/",
        "https://hooks.example.com%5C.evil.example/",
        "https://hooks.example.com /x",
        "https://hooks.example.com/\r\nHost: internal",
        "https://hooks.example.com:22/",
        "https://hooks.example.com:6379/",
        "https://hooks.example.com:99999/",
        "https://127.0.0.1/",
        "https://8.8.8.8/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",  # fullwidth digits
        "https://127。0。0。1/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://redis/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://kafka.default.svc.cluster.local/",
        "https://app.localhost/",
        "https:///x",
        "https://",
        "",
    ],
)
def test_an_address_that_is_refused_before_its_name_is_looked_up(url: str) -> None:
    assert refusal(url)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com/x?y=1", "https://hooks.example.com:8443/", "https://鉤子.example.com/"]
)
def test_an_ordinary_address_is_not_refused(url: str) -> None:
    assert refusal(url) == ""


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("http://127.0.0.1:8080/", False),
        ("http://localhost:8080/", False),
        ("http://10.1.2.3:9/", False),
        ("https://[::1]:9/", False),
        ("http://169.254.169.254/latest/meta-data", True),
        ("http://2130706433/", True),
        ("http://user@127.0.0.1/", True),
        ("gopher://127.0.0.1/", True),
    ],
)
def test_what_a_demo_may_post_to(url: str, *, refused: bool) -> None:
    assert bool(refusal(url, allow_private=True)) is refused


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b:1::1",
        "2001::1", "2001:db8::1", "2002:7f00:1::", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_an_address_behind_a_name_that_is_never_connected_to(address: str) -> None:
    assert not allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "192.169.0.1", "2606:4700::1111"])
def test_a_public_address_is_connected_to(address: str) -> None:
    assert allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1"])
def test_even_a_demo_never_connects_to(address: str) -> None:
    assert not allowed(ipaddress.ip_address(address), allow_private=True)


def names(*answers: Sequence[str]) -> tuple[Lookup, list[str]]:
    """A resolver that gives these answers in turn, and the names it was asked for."""
    asked: list[str] = []

    async def look_up(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return look_up, asked


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["8.8.8.8", "::1"], []])
async def test_one_forbidden_address_forbids_the_name(addresses: list[str]) -> None:
    look_up, _ = names(addresses)
    receiver = Receiver(endpoint("https://hooks.example.com/x"), lambda: NOW, lookup=look_up)
    assert (await receiver.post(ID, BODY)).outcome == "forbidden"
    with pytest.raises(Forbidden):
        await CheckedResolver(look_up, allow_private=False).resolve("hooks.example.com", 443)


async def test_a_name_that_moves_to_loopback_after_the_check_is_not_asked_again() -> None:
    """DNS rebinding: public when checked, 127.0.0.1 when connected to."""
    async with ReceiverStub() as stub:
        look_up, asked = names(["203.0.113.1"], ["127.0.0.1"])
        receiver = Receiver(
            endpoint(f"http://hooks.example.com:{stub.port}/x"), lambda: NOW, allow_private=True, lookup=look_up
        )
        assert (await receiver.post(ID, BODY)).outcome == "forbidden"
        assert asked == ["hooks.example.com"]
        assert stub.requests == []


async def test_the_connection_goes_to_the_checked_address_under_the_name() -> None:
    async with ReceiverStub() as stub:
        look_up, asked = names(["127.0.0.1"], ["203.0.113.1"])
        url = f"http://hooks.example.com:{stub.port}/x"
        receiver = Receiver(endpoint(url), lambda: NOW, allow_private=True, lookup=look_up)
        assert (await receiver.post(ID, BODY)).outcome == "delivered"
    assert asked == ["hooks.example.com"]


async def test_a_name_without_an_address_is_unreachable() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    receiver = Receiver(endpoint("https://hooks.example.com/x"), lambda: NOW, lookup=nowhere)
    assert (await receiver.post(ID, BODY)).outcome == "unreachable"


def test_an_endpoint_that_can_never_work_is_one_line_at_the_start() -> None:
    with pytest.raises(UsageError, match="endpoint coupons: only https is posted to; correct it"):
        Receiver(endpoint("http://hooks.example.com/"), lambda: NOW)
