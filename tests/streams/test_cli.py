"""The command line without any part running: what is typed wrong is one line that says what to do, and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from schemas.verdicts import Reason, Rejected
from streams.cli import app, default_programme
from streams.cli_operations import moment_of
from streams.errors import UsageError
from streams.sender import BadLine, judged
from streams.wiring import masked
from tests.e2e.memberflow import check_in

NOWHERE = {
    "MEMBERFLOW_KAFKA__BOOTSTRAP": "127.0.0.1:1",
    "MEMBERFLOW_REDIS__URL": "redis://:secret@127.0.0.1:1/0",
    "MEMBERFLOW_LOG": "nowhere",
    "MEMBERFLOW_ENV_FILE": None,
}
PEOPLE = ("--why", "w", "--by", "ana", "--approved-by", "ben")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, with one programme and one file of actions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(default_programme())
    (tmp_path / "actions.jsonl").write_text(json.dumps(check_in(1, "m-1", "2026-01-01T00:00:00Z")) + "\n")
    return tmp_path


def run(*arguments: str, **env: str | None) -> Result:
    return CliRunner(env={**NOWHERE, **env}).invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("wroker",), "No such command 'wroker'. Did you mean 'worker'?"),
        (("send",), "Missing argument"),
        (("send", "actions.jsonl", "--fast"), "No such option: --fast"),
        (("partition", "resume", "x"), "Invalid value for"),
        (("partition", "resume", "12"), "there is no partition 12; the log has 0 to 11"),
        (("partition", "list"), "Redis at 127.0.0.1:1/0 does not answer"),
        (("partition", "list"), "`make stack-up`"),
        (("dlq", "list"), "`make stack-up`"),
        (("topics", "apply"), "Kafka at 127.0.0.1:1 does not answer"),
        (("send", "actions.jsonl"), "Kafka at 127.0.0.1:1 does not answer"),
        (("bootstrap",), "no private key in .stack/keys/staff.pem"),
        (("bootstrap", "nowhere.yaml"), "cannot read nowhere.yaml (No such file or directory)"),
        (("bootstrap", "--history-from", "1997"), "'1997' does not match the format"),
        (("dlq", "list"), "Kafka does not answer"),
        (("member", "show", "\udcff\udcfe"), r"'\udcff\udcfe' is not text in UTF-8; type it anew"),
        (("dlq", "list", "--limit", "0"), "Invalid value for '--limit'"),
        (("dlq", "list", "--reason", "bad"), "there is no reason bad; there are not_json, invalid"),
        (("dlq", "replay"), "no letter is named; name one letter as P:OFFSET, or all of a reason with --reason"),
        (("dlq", "replay", "0:1", "--reason", "rule"), "0:1 and --reason rule exclude each other; name the letter or"),
        (("reconcile", "--every", "1s"), "--every 1s is not between 1m and 12h; write 30m or 1h"),
        (("reconcile", "--every", "13h"), "--every 13h is not between 1m and 12h"),
        (("reconcile", "--every", "1h", "--repair"), "--every only tells by metrics"),
        (("reconcile", "--every", "1h"), "Kafka at 127.0.0.1:1 does not answer"),
        (("migrate", "--status", "--dry-run"), "--status and --dry-run exclude each other"),
        (("programme", "apply", "good.yaml"), "Missing option '--why'"),
        (("programme", "apply", "nowhere.yaml", *PEOPLE), "cannot read nowhere.yaml"),
        (("programme", "apply", "good.yaml", *PEOPLE[:5], "ana"), "ana cannot approve their own change"),
        (("programme", "apply", "good.yaml", *PEOPLE[:5], " "), "two people are needed"),
        (("programme", "apply", "good.yaml", *PEOPLE, "--holds-from", "+59s"), "is not 60 s ahead"),
        (("programme", "apply", "good.yaml", *PEOPLE, "--holds-from", "tomorrow"), "is not a moment with an offset"),
        (("programme", "apply", "good.yaml", *PEOPLE, "--holds-from", "+999999d"), "is after the year 2099"),
        (
            ("programme", "apply", "good.yaml", *PEOPLE, "--holds-from", "9999-12-31T23:59:59-12:00"),
            "is after the year 2099",
        ),
        (("outreach", "go-live", *PEOPLE[:5], "ana"), "ana cannot approve their own change"),
        (("sink", "resume"), "does not"),
        (("--env-file", "nowhere.env", "config", "show"), "there is no nowhere.env; name the env file with --env-file"),
        (("--secrets-dir", "nowhere", "config", "show"), "there is no folder nowhere"),
    ],
)
def test_what_a_person_gets_wrong_is_one_line(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    done = run(*arguments)
    lines = done.stderr.splitlines()
    assert (done.exit_code, len(lines)) == (2, 1), (done.exit_code, lines, done.exception)
    assert lines[0].startswith("memberflow: ")
    assert told in lines[0]
    assert ":secret@" not in lines[0]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MEMBERFLOW_LOG", "Live 1", "MEMBERFLOW_LOG: String should match pattern"),
        ("MEMBERFLOW_PARTITIONS", "many", "MEMBERFLOW_PARTITIONS: Input should be a valid integer"),
        ("MEMBERFLOW_WORKER__CHUNK_MAX_RECORDS", "0", "MEMBERFLOW_WORKER__CHUNK_MAX_RECORDS: Input should be greater"),
        ("MEMBERFLOW_KAFKA__BOOTSTARP", "x:1", "MEMBERFLOW_KAFKA__BOOTSTARP: Extra inputs are not permitted"),
        ("MEMBERFLOW_DISPATCHER__ENDPOINTS", "{", "settings: "),
        ("MEMBERFLOW_LGO", "live-2", "MEMBERFLOW_LGO is no setting, do you mean MEMBERFLOW_LOG?"),
        ("MEMBERFLOW_REDSI__URL", "redis://x:1", "MEMBERFLOW_REDSI__URL is no setting, do you mean MEMBERFLOW_REDIS?"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(folder: Path, name: str, value: str, told: str) -> None:
    done = run("config", "show", **{name: value})
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert told in done.stderr


def test_a_wrong_name_in_the_env_file_is_told_too(folder: Path) -> None:
    (folder / "wrong.env").write_text("PATH=elsewhere\n# MEMBERFLOW_NO=1\nexport MEMBERFLOW_KAFAK__BOOTSTRAP=x:1\n")
    done = run("--env-file", "wrong.env", "config", "show")
    assert done.exit_code == 2
    assert "MEMBERFLOW_KAFAK__BOOTSTRAP is no setting, do you mean MEMBERFLOW_KAFKA?" in done.stderr
    assert "MEMBERFLOW_NO" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("reddis__url", b"redis://x:1", "MEMBERFLOW_REDDIS__URL is no setting, do you mean MEMBERFLOW_REDIS?"),
        ("clickhouse__password", b"a\xff", "secrets is not text in UTF-8"),
    ],
)
def test_a_wrong_secret_file_is_one_line(folder: Path, name: str, content: bytes, told: str) -> None:
    (folder / "secrets").mkdir()
    (folder / "secrets" / name).write_bytes(content)
    done = run("--secrets-dir", "secrets", "config", "show")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert told in done.stderr


def test_an_env_file_that_is_no_text_is_one_line(folder: Path) -> None:
    (folder / "wrong.env").write_bytes(b"MEMBERFLOW_LOG=\xff\n")
    done = run("--env-file", "wrong.env", "config", "show")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "wrong.env is not text in UTF-8" in done.stderr


def test_an_error_is_one_line_however_its_text_was_written() -> None:
    assert (
        str(
            UsageError(
                "one\n  two",
                remedy="""three
        four""",
            )
        )
        == "one two; three four"
    )


def test_without_a_command_the_help_is_shown(folder: Path) -> None:
    done = run()
    assert done.exit_code == 2
    assert "bootstrap" in done.stdout + done.stderr


def test_every_command_says_what_it_does(folder: Path) -> None:
    commands = (
        "worker", "sink", "sink resume", "dispatcher", "topics apply", "migrate", "bootstrap", "programme apply",
        "programme check", "programme schema", "programme promote",
        "partition list", "partition resume", "send", "dlq list", "dlq show", "dlq replay",
        "outreach go-live", "doctor", "config show",
    )  # fmt: skip
    for command in commands:
        done = run(*command.split(), "--help")
        assert done.exit_code == 0
        assert len(done.stdout.splitlines()[2].strip()) > 20, command


def test_settings_are_shown_without_secrets(folder: Path) -> None:
    endpoint = {"name": "crm", "url": "https://u:pw@crm.example/h00k?token=t0k", "secret": "whsec_c2VjcmV0"}
    done = run("config", "show", MEMBERFLOW_DISPATCHER__ENDPOINTS=json.dumps([endpoint]))
    shown = json.loads(done.stdout)
    assert shown["redis"]["url"] == "redis://:***@127.0.0.1:1/0"
    assert not [secret for secret in ("secret@", "pw@", "h00k", "t0k", "c2Vj") if secret in done.stdout]


def test_settings_come_from_the_stack_in_this_folder_and_the_environment_wins(folder: Path) -> None:
    (folder / ".stack").mkdir()
    (folder / ".stack/stack.env").write_text("MEMBERFLOW_LOG=from-file\nMEMBERFLOW_PARTITIONS=5\n")
    shown = json.loads(run("config", "show").stdout)
    assert (shown["log"], shown["partitions"]) == ("nowhere", 5)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://user:pw@h:1/0", "redis://user:***@h:1/0"),
        ("redis://:p@w@h:1/0", "redis://:***@h:1/0"),
    ],
)
def test_passwords_in_addresses_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


# -- programme check


def test_a_good_programme_can_be_applied(folder: Path) -> None:
    done = run("programme", "check", "good.yaml")
    first, most, invited, *rest = done.stdout.splitlines()
    assert first == "good.yaml: default can be applied (rules 1, days of Asia/Shanghai)"
    assert most.startswith("a member earns at most 244 points (2.44 CNY) in a day (check_in 20, message 40, ")
    assert invited.startswith(
        "by those it invited at most 540,000 points (5,400.00 CNY), were the 200 of a year to join"
    )
    assert rest == []


PLANTED = (
    # in the default programme, instead, path, where on the line, what is wrong
    ("rules: 1 ", "rules: 7 ", "rules", "rules", "this release knows rules 1"),
    ("length_min: 4}", "length_min: four}", "points.message.length_min", "length_min", "should be a valid integer"),
    ("half_life_days: 7", "half_live_days: 7", "activity.half_live_days", "half_live_days", "no such name here"),
    ("after_days: 38}", "after_days: 29}", "tiers.presence.2.after_days", "after_days: 29", "must ascend"),
    (
        "{coupon_id: given}",
        "{coupon: given}",
        "tasks.trial.conditions.0.of.1.where.coupon",
        "coupon: given}",
        "purchase has no coupon; it has ",
    ),
    (
        "{group_id: given}",
        "{group_id: givenx}",
        "tasks.trial.conditions.1.of.0.where.group_id",
        "group_id: givenx",
        "write `given`",
    ),
    (
        "{status: joined}",
        "{status: joinedx}",
        "tasks.trial.conditions.2.of.0.where.status",
        "status: joinedx",
        "status is never joinedx: it is one of finished, joined",
    ),
    ("\nlevels:  ", "\nlewels:  ", "lewels", "lewels", "did you mean levels?"),
    (
        "contributor 3}\n  steps",
        "contributor 4}\n  steps",
        "lewels.bonus.up_to",
        "up_to",
        "no such level: contributor 4",
    ),
)


def test_every_error_of_a_programme_is_a_line_with_its_place(folder: Path) -> None:
    text = default_programme()
    for old, new, *_ in PLANTED:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "bad.yaml").write_text(text)
    done = run("programme", "check", "bad.yaml")
    assert done.exit_code == 2
    told = [line.split(": ", 3)[1:] for line in done.stderr.splitlines()]
    lines, places = text.splitlines(), {path: place for place, path, _ in told}
    for _, _, path, begins, words in PLANTED:
        file, line, column = places[path].split(":")
        assert file == "bad.yaml"
        assert lines[int(line) - 1][int(column) - 1 :].startswith(begins), path
        assert any(words in said for _, at, said in told if at == path)
    assert sorted(places) == sorted(path for _, _, path, _, _ in PLANTED)


def test_a_warning_is_a_line_with_its_place_and_no_error(folder: Path) -> None:
    text = default_programme().replace("spend_above: 6500}", "spend_above: 8001}")
    (folder / "odd.yaml").write_text(text)
    done = run("programme", "check", "odd.yaml")
    (line,) = (at for at, one in enumerate(text.splitlines(), 1) if "contributor 2" in one)
    assert done.exit_code == 0
    (told,) = [one for one in done.stdout.splitlines() if one.startswith("warning: ")]
    assert told == f"warning: odd.yaml:{line}:7: levels.steps.7: passed over: whoever meets it meets contributor 3"


@pytest.mark.parametrize("text", [b"a: [", b"\xff\xfe", b"", b"- 1", b"name: &a *a"])
def test_a_file_that_is_no_programme_is_told_with_its_name(folder: Path, text: bytes) -> None:
    (folder / "bad.yaml").write_bytes(text)
    done = run("programme", "check", "bad.yaml")
    assert done.exit_code == 2
    assert "bad.yaml" in done.stderr
    assert all(line.startswith("memberflow: ") for line in done.stderr.splitlines())


def test_a_programme_that_does_not_fit_a_control_record_is_refused(folder: Path) -> None:
    (folder / "long.yaml").write_text(default_programme() + "#" * 65_536)
    assert "is longer than 65536 bytes; shorten its comments" in run("programme", "check", "long.yaml").stderr


# -- moments and lines

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "ahead_s"),
    [("+90s", 90), ("+60s", 60), ("+10m", 600), ("+2h", 7200), ("+1d", 86_400), ("2027-01-15T08:02:00+00:00", 120)],
)
def test_a_moment_is_written_from_now_on_or_with_its_offset(text: str, ahead_s: int) -> None:
    assert moment_of(text, NOW) == NOW + ahead_s * 1000


@pytest.mark.parametrize("text", ["", "+59s", "-1d", "+1w", "90s", "2027-01-15T08:02:00", "2027-01-15T08:00:59+00:00"])
def test_a_moment_too_near_or_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        moment_of(text, NOW)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", Reason.NOT_JSON),
        (b"[" * 900, Reason.TOO_DEEP),
        (b'{"action":"fly"}', Reason.UNKNOWN_ACTION),
        (b'{"record":"tick"}', Reason.UNKNOWN_ACTION),
        (b"\xff", Reason.NOT_JSON),
        (b'{"action":"adjust"}', Reason.INVALID),
    ],
)
def test_a_line_that_the_worker_would_refuse_is_told_by_number(line: bytes, reason: Reason) -> None:
    rejected = judged(line)
    assert isinstance(rejected, Rejected)
    assert rejected.reason is reason
    assert str(BadLine(7, rejected)).startswith(f"line 7: {reason.value} at $")
