"""Settings come from the environment, files of secrets and defaults, and never show a secret."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.settings import Settings
from schemas.topics import DEFAULT_LOG, PARTITIONS


def settings(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_without_anything_the_defaults_are_a_local_stack() -> None:
    found = Settings()

    assert (found.log, found.partitions) == (DEFAULT_LOG, PARTITIONS)
    assert found.clickhouse.adapter == "chdb"
    assert found.dispatcher.endpoints == ()


def test_one_name_in_a_group_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, {"MEMBERFLOW_WORKER__CHUNK_MAX_RECORDS": "7"})

    assert found.worker.chunk_max_records == 7
    assert found.worker.session_timeout_s == 8.0


def test_a_secret_may_lie_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "clickhouse__password").write_text("s3cret\n")
    found = Settings(_secrets_dir=tmp_path)

    assert found.clickhouse.password.get_secret_value() == "s3cret"
    assert "s3cret" not in f"{found!r} {found} {found.model_dump_json()}"


def test_endpoints_are_a_list_and_their_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[{"name": "crm", "url": "https://crm.example/hook", "secret": "whsec_abc"}]'
    found = settings(monkeypatch, {"MEMBERFLOW_DISPATCHER__ENDPOINTS": text})

    assert found.dispatcher.endpoints[0].secret.get_secret_value() == "whsec_abc"
    assert "whsec_abc" not in repr(found)


def test_the_password_in_a_redis_url_is_not_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, {"MEMBERFLOW_REDIS__URL": "redis://:hidden@127.0.0.1:1/0"})

    assert "hidden" not in repr(found)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MEMBERFLOW_LOG", "Not A Name", "log"),
        ("MEMBERFLOW_PARTITIONS", "0", "partitions"),
        ("MEMBERFLOW_CLICKHOUSE__ADAPTER", "sqlite", "clickhouse.adapter"),
        ("MEMBERFLOW_CLICKHOUSE__PORT", "70000", "clickhouse.port"),
        ("MEMBERFLOW_WORKER__CHUNKS", "5", "worker.chunks"),
    ],
)
def test_a_wrong_value_or_name_is_refused_by_its_place(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(monkeypatch, {name: value})
    assert ".".join(map(str, refused.value.errors()[0]["loc"])) == told


def test_a_folder_of_secrets_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="does not exist"):
        Settings(_secrets_dir=tmp_path / "nothing")
