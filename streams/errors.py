"""What can go wrong, as one family, and what a person should then do.

    MemberflowError                 exit 2: a person can cause it and can cure it
    ├── UsageError                  what was typed: an option, a name, a number
    ├── InputInvalid                a file or a message does not say what it must
    ├── RefusedToStart              this place is not what the log is bound to, or not safe
    │   ├── StoreUnsafe             Redis may forget what it acknowledged
    │   └── LogMismatch             exit 78: another topic, partition count or log name
    ├── Unavailable                 a part does not answer now; the same call later may succeed
    │   ├── StoreUnavailable        Redis; a commit may or may not have happened
    │   ├── BrokerUnavailable       Kafka
    │   └── AnalyticsUnavailable    ClickHouse
    ├── StateExists                 bootstrap met state that is already there
    ├── StateLost                   a partition's state is gone or damaged
    │   └── NoState                 all of it
    ├── PartitionHalted             a partition must not go on before a person has looked
    ├── PublishFailed               a batch was not acknowledged: drop the chunk, start again
    ├── PublishRefused              a batch is refused for good: halt the partition
    ├── TotalsDiffer                exit 3: stores disagree about the same offset
    ├── Stuck                       exit 1: nothing moves though all parts answer: a consumer, or workers waited for
    └── MalformedCommit             exit 1: our own mistake, nothing was written

Every one prints as one line: what happened, then what to do.
"""

from typing import ClassVar


class MemberflowError(Exception):
    """The root: catch it at the edge, print it, leave with its exit code."""

    exit_code: ClassVar[int] = 2
    remedy: ClassVar[str] = "see `memberflow --help`"

    def __init__(self, what: str, *, remedy: str | None = None) -> None:
        """`what` happened; `remedy` replaces the family's own advice where a better one is known."""
        self.what = " ".join(what.split())
        self.advice = " ".join((self.remedy if remedy is None else remedy).split())
        super().__init__(f"{self.what}; {self.advice}" if self.advice else self.what)


class UsageError(MemberflowError):
    """An option, a name or a number that cannot be meant."""


class InputInvalid(MemberflowError):
    """A file or a message that does not say what it must; `what` names the place in it."""

    remedy = "correct it and run the command again"


class RefusedToStart(MemberflowError):
    """Going on here could damage state, so nothing was started."""

    remedy = "see `memberflow doctor`"


class StoreUnsafe(RefusedToStart):
    """Redis may drop what it has acknowledged."""

    remedy = "start Redis with `maxmemory-policy noeviction` and `appendonly yes`"


class LogMismatch(RefusedToStart):
    """The log's name is bound to another topic or another number of partitions."""

    exit_code = 78
    remedy = "set what is the log's; another topic or number of partitions needs a log name that was never used"


class Unavailable(MemberflowError):
    """A part does not answer now. The same call may succeed later."""

    remedy = "check that it runs: `memberflow doctor`"


class StoreUnavailable(Unavailable):
    """Redis does not answer, or answers that it cannot now.

    A commit that ends like this may have happened: send the same one again, its commit id tells.
    """

    remedy = "start Redis (on this machine `make stack-up`), or see why it cannot be reached: `memberflow doctor`"


class BrokerUnavailable(Unavailable):
    """Kafka does not answer."""

    remedy = "start Kafka (on this machine `make stack-up`), or see why it cannot be reached: `memberflow doctor`"


class AnalyticsUnavailable(Unavailable):
    """ClickHouse does not answer."""

    remedy = "check that the sink or the ClickHouse server runs: `memberflow doctor`"


class StateExists(MemberflowError):
    """Bootstrap would put an empty partition over one that holds state."""

    remedy = "nothing was changed; to replace it use `memberflow rebuild`"


class StateLost(MemberflowError):
    """A partition's state is gone or damaged. It is never started empty in silence."""

    remedy = "restore it with `memberflow rebuild P`, P being its partition"


class NoState(StateLost):
    """A partition has no state at all: its log never began, or all of it is lost."""

    remedy = "begin the log with `memberflow bootstrap`; one that had begun is restored with `memberflow rebuild`"

    def __init__(self, log: str, partition: int) -> None:
        super().__init__(f"partition {partition} of log {log} has no state")


class PartitionHalted(MemberflowError):
    """A partition must not go on before a person has looked."""

    remedy = "see `memberflow partition list`, cure the cause, then `memberflow partition resume`"


class PublishFailed(MemberflowError):
    """A batch was not acknowledged: a new producer, the chunk dropped, start again at Redis' offset."""

    remedy = "start Kafka (on this machine `make stack-up`), or see why it cannot be reached: `memberflow doctor`"


class PublishRefused(MemberflowError):
    """A batch is refused for good (too large, not allowed), so the partition halts."""

    remedy = "compare the topic's limits and rights with `memberflow topics apply`"


class TotalsDiffer(MemberflowError):
    """Stores that must agree at one offset do not."""

    exit_code = 3
    remedy = "stop the sink and the workers, then compare with `memberflow audit`"


class Stuck(MemberflowError):
    """What has lag does not move though all parts answer: a process ends itself, a command waits no longer."""

    exit_code = 1
    remedy = "start it again: it goes on where it stood"


class MalformedCommit(MemberflowError):
    """The commit makes no sense, so nothing was written. A mistake of the code, not of a person."""

    exit_code = 1
    remedy = "this is a defect of memberflow; the partition stands where it stood"
