"""What every command is composed of: settings, the state store, the topics' id, who runs it.

Commands get one `Invocation` from the command line and nothing else, so the machine's clock and environment are read
in one place.
"""

from __future__ import annotations

import asyncio
import difflib
import getpass
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from kafka.errors import KafkaError
from pydantic import ValidationError
from pydantic_settings import SettingsError

from schemas.settings import Settings
from schemas.topics import Topics, topics
from streams import topics as topic_admin
from streams.errors import BrokerUnavailable, LogMismatch, RefusedToStart, StoreUnavailable, UsageError
from streams.redis_store import RedisStore
from streams.terminal import Terminal

T = TypeVar("T")
WIDE = 200
"""Where no terminal says how wide it is, a table's lines are better long than broken."""

STACK_ENV = Path(".stack/stack.env")
"""What `python -m infra.stack up` leaves in the folder one stands in; read unless another file is named."""

ASSIGNED = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=", re.MULTILINE)
NOT_SETTINGS = {"MEMBERFLOW_ENV_FILE", "MEMBERFLOW_SECRETS_DIR", "MEMBERFLOW_TEST_NO_SKIP"}


A_LIST = """MEMBERFLOW_DISPATCHER__ENDPOINTS='[{"name": "crm", "url": "https://...", "secret": "whsec_..."}]'"""


class Invocation:
    """One run of a command: its settings, its clock, and where it prints."""

    def __init__(
        self,
        wall: Callable[[], float],
        *,
        env_file: Path | None = None,
        secrets: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.wall, self.environ = wall, environ
        self._env_file, self._secrets = env_file, secrets
        self.out = Terminal(width=None if sys.stdout.isatty() else WIDE)
        self.err = Terminal(stderr=True)

    @cached_property
    def settings(self) -> Settings:
        """The environment over the env file over the secrets. Raises `UsageError`."""
        if self._env_file is not None and not self._env_file.is_file():
            raise UsageError(f"there is no {self._env_file}", remedy="name the env file with --env-file")
        if self._secrets is not None and not self._secrets.is_dir():
            raise UsageError(f"there is no folder {self._secrets}", remedy="name it with --secrets-dir")
        file = self._env_file or (STACK_ENV if STACK_ENV.is_file() else None)
        try:
            if unknown := unknown_names([*self.environ, *assigned(file), *secret_names(self._secrets)]):
                raise UsageError(unknown, remedy="correct it, or take it away")
            return Settings(_env_file=file, _secrets_dir=self._secrets)
        except ValidationError as error:
            raise UsageError(wrong_settings(error), remedy="see `memberflow config show --help`") from error
        except UnicodeDecodeError as error:
            where = " or ".join(str(place) for place in (file, self._secrets) if place)
            raise UsageError(f"{where} is not text in UTF-8 ({error.reason})", remedy="write it anew") from error
        except SettingsError as error:
            raise UsageError(f"settings: {error}", remedy=f"lists are written as JSON: {A_LIST}") from error

    @property
    def topics(self) -> Topics:
        """The topics of the log."""
        return topics(self.settings.log, partitions=self.settings.partitions)

    def now_ms(self) -> int:
        """The machine's clock."""
        return round(self.wall() * 1000)

    @asynccontextmanager
    async def store(self, *, look: bool = True) -> AsyncIterator[RedisStore]:
        """The state store, closed afterwards. Raises `LogMismatch` if its log is of another number of partitions.

        Whoever only wants to see what is there does without that `look`. A store that is away is told when it is used.
        """
        store = RedisStore(self.settings.redis.url, self.settings.log)
        try:
            if look:
                await self._same_partitions(store)
            yield store
        finally:
            await store.close()

    async def _same_partitions(self, store: RedisStore) -> None:
        """Another number would send members to partitions that are not theirs, or leave some out in silence."""
        ours = self.settings.partitions
        with suppress(StoreUnavailable):
            for header in (await store.headers(range(ours))).values():
                if header is not None and header.identity.partitions != ours:
                    raise LogMismatch(_other_number(f"log {self.settings.log}", header.identity.partitions, ours))

    def topic_id(self) -> str:
        """The broker's id of the log's topic. Raises `UsageError` when there is none, `LogMismatch` as `store` does."""
        name, ours = self.topics.actions.name, self.settings.partitions
        with broker(self.settings) as client:
            try:
                topic_id, theirs = topic_admin.identity(client, name)
            except LookupError:
                what = f"there is no topic {name} at {self.settings.kafka.bootstrap}"
                raise UsageError(what, remedy="begin the log with `memberflow bootstrap`") from None
        if theirs != ours:
            raise LogMismatch(_other_number(f"topic {name}", theirs, ours))
        return str(topic_id)

    def user(self) -> str:
        """Who runs this, for `--by` where it was left out."""
        try:
            return getpass.getuser()
        except (OSError, KeyError):
            return ""


class broker:
    """Kafka's admin client for a short errand, whatever goes wrong told as ours."""

    def __init__(self, settings: Settings) -> None:
        self._where = settings.kafka.bootstrap
        self._admin = topic_admin.admin(self._where)

    def __enter__(self) -> Any:
        try:
            return self._admin.__enter__()
        except (KafkaError, OSError, ValueError) as error:
            raise BrokerUnavailable(f"Kafka at {self._where} does not answer ({error})") from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._admin.__exit__(kind, error, trace)
        if isinstance(error, KafkaError):
            raise BrokerUnavailable(f"Kafka at {self._where}: {error}") from error


def _other_number(what: str, theirs: int, ours: int) -> str:
    return f"{what} has {theirs} partitions, MEMBERFLOW_PARTITIONS says {ours}"


def refuse_two_owners() -> None:
    """Others have packages called `schemas` or `processors` too: installed over ours they replace files silently."""
    owners = packages_distributions()
    for name in ("streams", "processors", "schemas"):
        found = sorted(set(owners.get(name, ())))
        if len(found) > 1:
            what = f"two installed packages own `{name}`: {', '.join(found)}"
            raise RefusedToStart(what, remedy="uninstall both, then install memberflow in an environment of its own")


def assigned(file: Path | None) -> list[str]:
    """The names an env file sets."""
    return ASSIGNED.findall(file.read_text(encoding="utf-8")) if file else []


def secret_names(folder: Path | None) -> list[str]:
    """The settings that a folder of secrets names, as the environment would; hidden files are none."""
    files = [it for it in folder.iterdir() if it.is_file() and not it.name.startswith(".")] if folder else []
    return [f"MEMBERFLOW_{it.name.upper()}" for it in files]


def unknown_names(names: Iterable[str]) -> str:
    """The names with our prefix that are no setting, each with the nearest that is one: a slip must not pass."""
    known, found = list(Settings.model_fields), []
    for name in names:
        prefix, _, rest = name.upper().partition("_")
        setting = rest.partition("__")[0].lower()
        if prefix == "MEMBERFLOW" and name.upper() not in NOT_SETTINGS and setting not in known:
            near = difflib.get_close_matches(setting, known, 1)
            found.append(f"{name} is no setting" + (f", do you mean MEMBERFLOW_{near[0].upper()}?" if near else ""))
    return "; ".join(found)


def wrong_settings(error: ValidationError) -> str:
    """Every wrong setting under the name it has in the environment."""
    found = []
    for it in error.errors():
        name = "MEMBERFLOW_" + "__".join(str(part).upper() for part in it["loc"])
        found.append(f"{name}: {it['msg']}")
    return "; ".join(found)


def masked(url: str) -> str:
    """An address without its password or query."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")
    user = where[0].partition(":")[0]
    safe = f"{user}:***@{where[2]}" if where[0] else where[2]
    return urlunsplit((parts.scheme, safe, parts.path, "***" if parts.query else "", ""))


def masked_place(url: str) -> str:
    """A receiver's address without what may let others in: its path is often a secret too."""
    parts = urlsplit(masked(url))
    return urlunsplit(parts._replace(path="/***" if parts.path.strip("/") else parts.path))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    return asyncio.run(work)
