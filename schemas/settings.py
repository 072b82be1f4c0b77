"""Everything that may differ between two machines; what shapes a decision is in the programme instead.

One environment variable each, `MEMBERFLOW_<GROUP>__<NAME>` (`MEMBERFLOW_KAFKA__BOOTSTRAP`); secrets may also
lie in files of a folder (`clickhouse__password`). Only declared here; the command line loads it once
and hands on what is used:

    Settings(_env_file=".stack/stack.env", _secrets_dir="/run/secrets")
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, NestedSecretsSettingsSource, SettingsConfigDict
from pydantic_settings.sources import PydanticBaseSettingsSource, SecretsSettingsSource

from schemas.topics import DEFAULT_LOG, PARTITIONS

Port = Annotated[int, Field(ge=0, le=65_535)]
LogName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class Group(BaseModel):
    """A few settings that are used together: frozen, and a name that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Kafka(Group):
    """Where the log is."""

    bootstrap: str = Field(default="127.0.0.1:9092", description="host:port of a broker, several with commas")
    replication: PositiveInt = Field(default=1, description="copies of each topic; 3 where there are three brokers")


class Redis(Group):
    """Where the state is. Must run with the append-only file on and maxmemory-policy noeviction."""

    url: str = Field(default="redis://127.0.0.1:6379/0", description="redis://[:password@]host:port/db", repr=False)


class Worker(Group):
    """How one worker works; none of these changes what is decided."""

    instance: str = Field(default="", description="name in metrics and logs; empty = host and pid")
    chunk_max_records: PositiveInt = Field(default=5_000, description="records of one chunk at most")
    cache_members: PositiveInt = Field(default=1_000_000, description="members kept in memory at most")
    # Faust waits 60 s by default: a killed worker's partitions would stand still for a minute.
    session_timeout_s: PositiveFloat = Field(default=8.0, description="silence after which the partitions go to others")
    watchdog_s: PositiveFloat = Field(default=60.0, description="lag without movement after which it ends itself")


class ClickHouse(Group):
    """Where the analytics are: a server, or the engine inside the sink (`chdb`), which then answers reads."""

    adapter: Literal["chdb", "server"] = "chdb"
    host: str = "127.0.0.1"
    port: Port = Field(default=9000, description="native protocol of the server")
    database: str = "memberflow"
    user: str = "default"
    password: SecretStr = SecretStr("")
    folder: Path = Field(default=Path(".stack/chdb"), description="data folder of chdb; the sink alone opens it")
    http_host: str = Field(default="127.0.0.1", description="where SQL is answered over HTTP (chdb: by the sink)")
    http_port: Port = 8123
    actions: bool = Field(
        default=False,
        description="the sink stores recorded actions too, so that `simulate --from-clickhouse` can replay them",
    )


class Metrics(Group):
    """Where a process shows its metrics."""

    host: str = "127.0.0.1"
    port: Port = Field(default=0, description="0 = a free one")
    targets: Path | None = Field(
        default=None,
        description="where a process leaves `<job>-<pid>.json` for Prometheus' file_sd; none = it does not",
    )


class Endpoint(Group):
    """One receiver of webhooks."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    url: HttpUrl
    secret: SecretStr = Field(description="whsec_... of Standard Webhooks, shared with the receiver")


class Dispatcher(Group):
    """Who gets webhooks and how hard we try. Nothing is sent before a `go_live` record in the log."""

    endpoints: tuple[Endpoint, ...] = ()
    allow_private: bool = Field(default=False, description="also post to private addresses (tests, demo)")
    timeout_s: PositiveFloat = 10.0
    attempts: PositiveInt = Field(default=8, description="tries before a delivery is given up")


class Boards(Group):
    """Where boards are shown, and where what was folded is stored so that a restart reads on."""

    host: str = "127.0.0.1"
    port: Port = Field(default=8124, description="0 = a free one")
    folder: Path = Field(default=Path(".stack/boards"), description="may be lost: all is read from the facts then")


class Keys(Group):
    """Where the ed25519 keys are (PEM). The key id in a signed record is the file's name without `.pem`."""

    folder: Path = Path(".stack/keys")
    workers: str = Field(default="workers.pem", description="private key the workers sign derived records with")
    staff: str = Field(default="staff.pem", description="private key of the person at this command line")
    public: str = Field(default="public.json", description="`worker_keys` and `staff_keys`, base64 by key id")


class Settings(BaseSettings):
    """All settings of all commands; each process is handed only the groups it uses."""

    model_config = SettingsConfigDict(
        env_prefix="MEMBERFLOW_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        env_file_encoding="utf-8",
        frozen=True,
        extra="ignore",
    )

    log: LogName = Field(default=DEFAULT_LOG, description="name of the log, never used again for another")
    partitions: PositiveInt = Field(PARTITIONS, description="of the log; another number is another log")
    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    worker: Worker = Worker()
    clickhouse: ClickHouse = ClickHouse()
    metrics: Metrics = Metrics()
    dispatcher: Dispatcher = Dispatcher()
    boards: Boards = Boards()
    keys: Keys = Keys()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Secret files may name a setting inside a group, which the default source cannot."""
        assert isinstance(file_secret_settings, SecretsSettingsSource)
        secrets = NestedSecretsSettingsSource(
            file_secret_settings,
            secrets_prefix="",
            secrets_nested_delimiter="__",
            secrets_dir_missing="error",
        )
        return init_settings, env_settings, dotenv_settings, secrets
