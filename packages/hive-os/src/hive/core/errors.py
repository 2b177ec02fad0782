"""What can go wrong, and what to do: the whole tree of errors.

    HiveError                      E001   anything below
    ├── ConfigError                E010   a setting is missing, weak or wrong
    │   ├── UnknownSchemeError     E011   a URL names no driver
    │   ├── PortInUseError         E012   another process holds the port
    │   └── MissingExtraError      E013   the driver's package is not installed
    ├── EngineError                E020   an engine did not start, died or refused
    │   ├── EngineUnavailableError E021   the engine cannot be reached now; trying again may help
    │   ├── ConflictError          E022   somebody else changed it first
    │   ├── EngineTimeoutError     E023   no answer in time
    │   └── NoResponderError       E024   nobody listens on that subject
    ├── InvalidIdError             E030   a name or id has a forbidden character
    ├── BadInputError              E031   bytes that are not what their standard says
    │   ├── TooLargeError          E032   more bytes, depth or frames than the limit
    │   └── UntranslatableError    E033   another model wire has no words for this request
    ├── NotFoundError              E040   no such agent, task or entry (or it is not yours)
    ├── StateError                 E041   the task cannot do that in its state
    ├── SpecError                  E050   an agent's source or spec cannot be used
    │   └── BuildError             E051   the agent's environment did not build
    ├── SandboxError               E060   a sandbox did not start or died
    │   ├── TierUnavailableError   E061   this machine cannot give the walls that are demanded
    │   └── GuestError             E062   the agent's process broke the turn protocol
    ├── AgentFailedError           E063   the agent itself raised
    ├── LedgerError                E070   the record cannot be written or does not verify
    │   ├── EpochLostError         E071   this node may no longer append
    │   ├── DiskFloorError         E072   too little disk is left to record new calls
    │   └── WitnessAwayError       E073   the witness of checkpoints cannot be asked
    ├── NodeUnreachableError       E080   no node runs, or it does not answer
    ├── IdentityError              E090   a token, key or signature is not valid
    │   ├── RoleError              E091   the role of your token does not reach that far
    │   ├── DeniedError            E092   this identity was revoked, or there is none
    │   └── QuotaExceededError     E093   too many identities were asked for
    ├── PolicyError                E100   a policy bundle cannot be used
    └── SupplyError                E110   a signed package is not what it says

`hive explain E012` prints a page: the class's own docstring. How an error looks on a wire (HTTP, JSON-RPC)
is decided at the door that speaks it; nothing here knows a status code.
"""

from collections.abc import Iterator
from typing import ClassVar


class HiveError(Exception):
    """Something broke.

    Every error says what failed, why, and what to do. An error never carries a secret, a token or a
    message body. A traceback is printed only with `--debug`.
    """

    code: ClassVar[str] = "E001"

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return " ".join(filter(None, (self.what, self.why)))


class ConfigError(HiveError):
    """A setting is missing, weak or wrong.

    In production every such setting stops the start before a port is bound, and all of them are
    listed at once, each with the command that makes it. Correct the file `hive.toml` or the variable
    `HIVE_*` that the message names, then start again.
    """

    code = "E010"


class UnknownSchemeError(ConfigError):
    """A URL names no driver.

    Engines are chosen by the scheme of a URL (`postgresql://...`, `nats://...`, `embedded:`). The
    message lists the schemes that are known; `hive doctor` prints them with their state.
    """

    code = "E011"


class PortInUseError(ConfigError):
    """Another process holds the port.

    Start on another one (`hive up --port 8701`), or stop the process that the message names.
    """

    code = "E012"


class MissingExtraError(ConfigError):
    """The driver's package is not installed.

    A driver of an optional engine needs an extra: the message holds the exact install command.
    """

    code = "E013"


class EngineError(HiveError):
    """An engine did not start, died or refused.

    Hive starts PostgreSQL and nats-server itself unless a URL names others. Their logs lie in the
    state folder under `engines/`; `hive doctor` starts each one for a moment and tells what it saw.
    """

    code = "E020"


class EngineUnavailableError(EngineError):
    """The engine cannot be reached now; trying again may help.

    The node restarts an embedded engine that died, and reconnects to one named by URL. A call made
    in between is answered with this error and has changed nothing.
    """

    code = "E021"


class ConflictError(EngineError):
    """Somebody else changed it first.

    A compare-and-set or a create-if-absent lost the race. Read again, then decide again.
    """

    code = "E022"


class EngineTimeoutError(EngineError):
    """No answer in time.

    The bus or the database did not answer within the bound of the call.
    """

    code = "E023"


class NoResponderError(EngineError):
    """Nobody listens on that subject.

    The agent or node that should answer is not running, or not yet.
    """

    code = "E024"


class InvalidIdError(HiveError):
    """A name or id has a forbidden character.

    Names become bus subjects, file names and parts of URLs, so wildcards (`*`, `>`), dots, slashes,
    spaces and control characters are refused.
    """

    code = "E030"


class BadInputError(HiveError):
    """Bytes that are not what their standard says.

    The message names the place. Nothing was changed.
    """

    code = "E031"


class TooLargeError(BadInputError):
    """More bytes, depth or frames than the limit.

    The limits are settings (`hive doctor -v` prints them). Nothing was changed.
    """

    code = "E032"


class UntranslatableError(BadInputError):
    """Another model wire has no words for this request.

    The agent speaks one wire and the route leads to a provider of another. Everything that both know is
    translated; a field that would change the answer and cannot be said is refused, never dropped. Route
    the model to a provider of the same wire (`hive llm list` shows which), or leave the field out.
    """

    code = "E033"


class NotFoundError(HiveError):
    """No such agent, task or entry, or it is not yours.

    A stranger's task and a missing one get the same answer, so that nobody can probe for ids.
    """

    code = "E040"


class StateError(HiveError):
    """The task cannot do that in its state.

    A task that is completed, failed, canceled or rejected takes no more messages and cannot be
    canceled. Send a new message without its id.
    """

    code = "E041"


class SpecError(HiveError):
    """An agent's source or spec cannot be used.

    The path, the attribute or a field of `hive-agent.toml` is wrong; the message names it.
    """

    code = "E050"


class BuildError(SpecError):
    """The agent's environment did not build.

    Environments are built inside the sandbox from wheels of the package index, nothing else. A
    package without a wheel needs `--allow-build`, which runs its build inside the same walls.
    """

    code = "E051"


class SandboxError(HiveError):
    """A sandbox did not start or died.

    `hive logs AGENT` shows what the agent printed last; `hive doctor` runs every wall once.
    """

    code = "E060"


class TierUnavailableError(SandboxError):
    """This machine cannot give the walls that are demanded.

    `HIVE_WALLS_MIN` sets the floor. `hive doctor` tells which wall is missing and why. Hive never
    starts an agent behind weaker walls in silence.
    """

    code = "E061"


class GuestError(SandboxError):
    """The agent's process broke the turn protocol.

    Frames have limits of size, depth and rate, and a turn id belongs to its sandbox. The sandbox
    was killed; the turn is run again in a fresh one where its effects allow.
    """

    code = "E062"


class AgentFailedError(HiveError):
    """The agent itself raised.

    The message is the agent's own. `hive logs AGENT` has its traceback, `hive trace TASK` the steps
    that led there.
    """

    code = "E063"


class LedgerError(HiveError):
    """The record cannot be written or does not verify.

    Nothing acts before its intent is durable, so a node that cannot write refuses calls.
    `hive audit verify` names the first entry that does not fit its chain.
    """

    code = "E070"


class EpochLostError(LedgerError):
    """This node may no longer append.

    Another node (or a second start of this one) has opened a newer epoch on the same database. Stop
    one of the two.
    """

    code = "E071"


class WitnessAwayError(LedgerError):
    """The witness of the ledger's checkpoints cannot be asked now.

    Checkpoints are signed by the node alone until it answers again; the next one that it signs covers them.
    `HIVE_WITNESS_URL` names it.
    """

    code = "E073"


class DiskFloorError(LedgerError):
    """Too little disk is left to record new calls.

    New calls are refused while results of running ones still find room. Free some space, or lower
    `HIVE_DISK_FLOOR_BYTES`.
    """

    code = "E072"


class NodeUnreachableError(HiveError):
    """No node runs, or it does not answer.

    Start one with `hive up`. If one runs under another state folder, name it with `--state`.
    """

    code = "E080"


class IdentityError(HiveError):
    """A token, key or signature is not valid.

    The operator's token lies in the state folder (`hive status` prints where). An agent's handle
    works only on the socket of its own sandbox while a turn runs there.
    """

    code = "E090"


class RoleError(IdentityError):
    """The role of your token does not reach that far.

    A viewer looks, an approver answers questions as well, an operator runs agents as well, an admin does all. An admin
    makes another token: `hive token issue NAME --role approver`.
    """

    code = "E091"


class DeniedError(IdentityError):
    """This identity was revoked, or there is none for whoever asks.

    `hive identity show` lists what is denied. A sandbox has its agent's identity for as long as it lives; what was
    issued in it counts no more when it has ended.
    """

    code = "E092"


class QuotaExceededError(IdentityError):
    """Too many identities were asked for.

    A sandbox and a node may each have so many in a time; a while later there are some again. A client of the
    Workload API needs one stream, which brings it each renewal.
    """

    code = "E093"


class AttestationError(IdentityError):
    """A machine's evidence about itself does not hold, or nobody named what it measured.

    It is forged, cut short, made for another challenge, of a guest that may be debugged, of firmware that is too old, or
    of an image that the file of references does not name. Nothing was released. `hive confidential verify` says which.
    """

    code = "E094"


class PolicyError(HiveError):
    """A policy bundle cannot be used.

    A rule does not compile, a test of it fails, or its signature is not of a key that is trusted. What stood before
    still stands. `hive policy test BUNDLE` says more, without a node.
    """

    code = "E100"


class SupplyError(HiveError):
    """A package's signature, statement or bill of materials is not what it has to be.

    In production only what a trusted key or identity signed is deployed. `hive agent verify SOURCE` says what was
    found, `hive trust list` whom this node trusts; a source that was changed on purpose is signed again.
    """

    code = "E110"


def all_errors(root: type[HiveError] = HiveError) -> Iterator[type[HiveError]]:
    """Yield every error class of the tree, parents first."""
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)
