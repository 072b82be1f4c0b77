"""A receiver of webhooks as a growth team's system would have one: it believes nothing without a valid signature.

    RECEIVER_SECRET=whsec_... python -m infra.receiver [--port N]

Prints its address first, then a line for each webhook; a repeated id is told and answered like the first.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import typer
from standardwebhooks import Webhook, WebhookVerificationError

from infra.command import run
from infra.process import LOOPBACK, StackError

BODY_BYTES_MAX = 64 * 1024
VALID = "signature valid"
INVALID = "signature INVALID"


class Receiver(ThreadingHTTPServer):
    """An HTTP server for one secret; `tell` is given a line for each webhook."""

    daemon_threads = True

    def __init__(self, secret: str, tell: Callable[[str], None], port: int = 0) -> None:
        self.webhook, self.tell = Webhook(secret), tell
        self.seen: set[str] = set()
        self.lock = threading.Lock()
        super().__init__((LOOPBACK, port), Handler)

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://{LOOPBACK}:{self.server_port}/webhooks"

    def judge(self, headers: dict[str, str], body: bytes) -> int:
        """The status for a post: 204 for a valid signature, repeated or not, else 401."""
        contact = headers.get("webhook-id", "")
        try:
            told = self.webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            self.tell(f"webhook {contact or 'without id'}: {INVALID} ({error})")
            return 401
        with self.lock:
            repeated = ", seen before" if contact in self.seen else ""
            self.seen.add(contact)
        self.tell(f"webhook {contact}: {VALID}{repeated}: {in_words(told)}")
        return 204


class Handler(BaseHTTPRequestHandler):
    """One post."""

    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read, judge, answer."""
        length = int(self.headers.get("content-length") or 0)
        if length > BODY_BYTES_MAX:
            status, self.close_connection = 413, True
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = self.server.judge(headers, self.rfile.read(length))
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """The webhooks are told, not the requests."""


def in_words(body: Any) -> str:
    """`member m-0000001 entered yellow (silence)`, as far as the body says so."""
    data = body.get("data", {}) if isinstance(body, dict) else {}
    if not isinstance(data, dict) or "member" not in data:
        return json.dumps(body)[:200]
    return f"member {data['member']} entered {data.get('tier')} at {data.get('since')}"


def main(
    secret: Annotated[str, typer.Option(envvar="RECEIVER_SECRET", help="whsec_...")] = "",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 = a free one")] = 0,
) -> None:
    """Receive until SIGTERM or Ctrl-C."""
    if not secret:
        raise StackError("set RECEIVER_SECRET to the secret shared with the sender (whsec_...)")
    try:
        receiver = Receiver(secret, lambda line: print(line, flush=True), port)
    except OSError as error:
        raise StackError(f"port {port} cannot be taken ({error.strerror}): choose another with --port") from None
    except ValueError as error:
        raise StackError(f"the secret is not whsec_ and base64 ({error})") from None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=receiver.shutdown).start())
    print(f"listening on {receiver.url}", flush=True)
    with receiver:
        receiver.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    run(app, "receiver")
