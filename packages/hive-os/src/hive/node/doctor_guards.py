"""What `hive doctor` finds of the layers that judge a call: one line each, from settings and files where no node runs.

Nothing is changed by looking: a bundle that would stand is read and its signature checked, but it is not put up.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from anyio import to_thread

from hive.core.clock import Clock
from hive.core.errors import HiveError
from hive.core.settings import Settings
from hive.engines.ports import Database
from hive.ledger.drivers import WITNESSES
from hive.node.identity import root_finding
from hive.node.watchdog import RULES_FILE, rules_in
from hive.security.identity.certificates import loaded
from hive.security.identity.minting import domain_of
from hive.security.policy import read_bundle
from hive.security.policy.drivers import POLICIES
from hive.security.policy.shelf import PolicyShelf
from hive.security.policy.signing import read_keys
from hive.security.policy.standing import shipped_bundle
from hive.security.relations.drivers import RELATIONS
from hive.security.relations.dsl_json import read_model
from hive.security.supply_chain.drivers import VERIFIERS
from hive.security.supply_chain.trust import folder_of
from hive.security.watchdog import WatchRule, shipped_rules
from hive.web.values import Finding

if TYPE_CHECKING:
    from hive.node.build import Node
    from hive.security.policy import Bundle

Section = Literal["policy", "trust", "relations", "watchdog", "witnesses", "identity"]
NAMED_MAX: Final = 4
ROOT_OLD: Final = timedelta(days=180)
_ROOTS: Final = "SELECT certificate FROM identity_authority WHERE kind = 'root'"


async def guards_of(node: "Node") -> list[Finding]:
    """Tell how the layers of a running node stand."""
    settings, shut_in = node.settings, len(node.watchdog.quarantine.all())
    return [
        await _told("policy", settings.policy_url, lambda: _policy_standing(node)),
        await _told("trust", settings.verify_url, lambda: _trust(settings, node.clock)),
        await _told("relations", settings.relations_url, lambda: _relations(node)),
        watch_finding(node.watchdog.rules, shut_in=shut_in),
        await _told("witnesses", witness_url(settings), lambda: _witnesses(settings)),
    ]


async def guards_alone(settings: Settings, clock: Clock) -> list[Finding]:
    """Tell how the layers will stand on a machine where no node runs."""
    return [
        await _told("policy", settings.policy_url, lambda: _policy_coming(settings)),
        await _told("trust", settings.verify_url, lambda: _trust(settings, clock)),
        await _told("relations", settings.relations_url, lambda: _relations_coming(settings)),
        await _told("watchdog", "rules:", lambda: _rules_coming(settings.state)),
        await _told("witnesses", witness_url(settings), lambda: _witnesses(settings)),
    ]


def policy_finding(
    settings: Settings, *, bundle: "Bundle | None", source: str, signer: str, problem: str = ""
) -> Finding:
    """Say which bundle stands, whose it is, and what came in its way."""
    name = _kind(settings.policy_url)
    if bundle is None and source:
        detail = "its rules live in the engine itself, and are signed by nobody here"
        return Finding(section="policy", name=name, state="unverified", detail=detail)
    if bundle is None:
        fix = "hive policy load BUNDLE     or: hive policy load --default"
        detail = f"none stands, so every call is refused: {problem}"
        return Finding(section="policy", name=name, state="failed", detail=detail, fix=fix)
    shipped = source == "shipped"
    whose = "shipped with Hive" if shipped else f"signed by {signer}" if signer else "not signed"
    if problem:
        detail = f"{bundle.version} stands; what should stand does not: {problem}"
        fix = "hive policy test BUNDLE"
        return Finding(section="policy", name=name, state="degraded", detail=detail, fix=fix)
    return Finding(
        section="policy",
        name=name,
        state="ok" if shipped or signer else "degraded",
        detail=f"{bundle.version}, {whose}",
        fix="" if shipped or signer else "hive policy sign BUNDLE --key FILE",
    )


def watch_finding(rules: Sequence[WatchRule], *, shut_in: int | None = None) -> Finding:
    """Say how many rules are loaded, how many of them are the operator's, and how many agents are shut in."""
    shipped = shipped_rules()
    own = sum(one not in shipped for one in rules)
    yours = f", {own} of them from {RULES_FILE}" if own else ""
    shut = f"; {_count(shut_in, 'agent')} in quarantine" if shut_in else ""
    state: Literal["ok", "degraded"] = "ok" if rules else "degraded"
    return Finding(
        section="watchdog",
        name="rules",
        state=state,
        detail=f"{_count(len(rules), 'rule')}{yours}{shut}",
    )


async def identity_alone(
    settings: Settings, domain: str, database: Database, clock: Clock
) -> Finding:
    """Say who will issue identities, from the database of a node that does not run."""
    url = settings.identity_url
    rows = await database.fetch(_ROOTS)
    roots = [loaded(cast("bytes", row["certificate"])) for row in rows]
    ends = [one.not_valid_after_utc for one in roots if domain_of(one) == domain]
    if _kind(url) != "local-ca":
        detail = "an authority elsewhere; it is asked when a node runs"
        return Finding(section="identity", name=_kind(url), state="unverified", detail=detail)
    if not ends:
        detail = "its first root is made when a node starts"
        return Finding(section="identity", name=_kind(url), state="info", detail=detail)
    about = f"spiffe://{domain}"
    return root_finding(url, about=about, ends_at=max(ends), now=clock.now())


def witness_url(settings: Settings) -> str:
    """Return the witness of the settings; without one it lies in the state folder."""
    return settings.witness_url or "file:"


async def _told(section: Section, url: str, look: Callable[[], Awaitable[Finding]]) -> Finding:
    """Look; what fails is a finding as well."""
    try:
        return await look()
    except (HiveError, OSError) as error:
        told = f"{error.what} {error.why}".strip() if isinstance(error, HiveError) else str(error)
        fix = error.fix if isinstance(error, HiveError) else "Let this user read the state folder."
        return Finding(section=section, name=_kind(url), state="failed", detail=told, fix=fix)


async def _policy_standing(node: "Node") -> Finding:
    from hive.security.policy import StandingPolicy

    policy = node.ground.policy
    stands = policy.standing if isinstance(policy, StandingPolicy) else None
    return policy_finding(
        node.settings,
        bundle=None if stands is None else stands.bundle,
        source="" if stands is None else stands.source,
        signer="" if stands is None else stands.signer,
        problem=policy.problem if isinstance(policy, StandingPolicy) else "",
    )


async def _policy_coming(settings: Settings) -> Finding:
    driver = POLICIES.load(settings.policy_url)(
        settings.policy_url, timeout_s=settings.policy_timeout_s
    )
    try:
        if not driver.takes_bundle:
            return policy_finding(settings, bundle=None, source=settings.policy_url, signer="")
        return await to_thread.run_sync(_bundle_coming, settings)
    finally:
        await driver.aclose()


def _bundle_coming(settings: Settings) -> Finding:
    """Find what would stand, in the order in which a node that starts looks."""
    shelf = PolicyShelf(settings.state / "policy")
    bundle = read_bundle(Path(settings.policy_bundle)) if settings.policy_bundle else shelf.kept()
    if bundle is None:
        return policy_finding(settings, bundle=shipped_bundle(), source="shipped", signer="")
    shelf.check_not_older(bundle)
    signer = read_keys(_policy_keys(settings)).signer_of(bundle)
    found = policy_finding(settings, bundle=bundle, source="loaded", signer=signer)
    if not signer and settings.production:
        return Finding(
            section="policy",
            name=found.name,
            state="failed",
            detail=f"{found.detail}, and in production nothing else stands",
            fix=found.fix,
        )
    return found


def _policy_keys(settings: Settings) -> Path:
    return Path(settings.policy_keys or settings.state / "policy" / "keys")


async def _trust(settings: Settings, clock: Clock) -> Finding:
    verifier = VERIFIERS.load(settings.verify_url)(settings.verify_url, state=settings.state)
    kind = _kind(settings.verify_url)
    policies = len(read_keys(_policy_keys(settings)).keys)
    if kind == "keyring":
        keys = folder_of(settings.verify_url, settings.state).keys()
        who = _names(sorted(one.name for one in keys.values()))
        weak = settings.production and not keys
        return Finding(
            section="trust",
            name=kind,
            state="degraded" if weak else "ok" if keys else "info",
            detail=f"{_count(len(keys), 'signer')} of agents and tools{who}, {policies} of policies",
            fix="hive trust add FILE.pub     without one, no agent is deployed" if weak else "",
        )
    root = getattr(verifier, "root_file", None)
    old, told = _root_age(root, clock.now())
    return Finding(
        section="trust",
        name=kind,
        state="degraded" if old else "ok",
        detail=f"1 signer of agents and tools, {policies} of policies{told}",
        fix="Fetch the trust root anew, and name it by `root=` in HIVE_VERIFY_URL." if old else "",
    )


def _root_age(root: Path | None, now: datetime) -> tuple[bool, str]:
    """Tell whether a trust root is old, and its age; that of the package is as old as the package."""
    if root is None:
        return False, f"; trust root of sigstore {metadata.version('sigstore')}"
    age = now - datetime.fromtimestamp(root.stat().st_mtime, now.tzinfo)
    return age > ROOT_OLD, f"; trust root {_count(max(0, age.days), 'day')} old"


def _names(names: Sequence[str]) -> str:
    more = "" if len(names) <= NAMED_MAX else ", ..."
    return f" ({', '.join(names[:NAMED_MAX])}{more})" if names else ""


async def _relations(node: "Node") -> Finding:
    kind = _kind(node.settings.relations_url)
    try:
        text = await (await node.relations.book()).model()
    except HiveError as error:
        # Only rules that ask for a relationship are refused by this.
        detail = f"{error.what} {error.why}".strip()
        return Finding(
            section="relations", name=kind, state="degraded", detail=detail, fix=error.fix
        )
    types = len(read_model(text).types) if text else 0
    model = f"a model of {_count(types, 'type')}" if types else "no model yet"
    return Finding(section="relations", name=kind, state="ok", detail=f"answers; {model}")


async def _relations_coming(settings: Settings) -> Finding:
    row = RELATIONS.row(settings.relations_url)
    RELATIONS.load(settings.relations_url)
    here = row.scheme == "postgresql"
    return Finding(
        section="relations",
        name=row.scheme,
        state="info" if here else "unverified",
        detail="kept in the node's database" if here else "a server; it is asked when a rule asks",
    )


async def _rules_coming(state: Path) -> Finding:
    return watch_finding(await to_thread.run_sync(rules_in, state))


async def _witnesses(settings: Settings) -> Finding:
    url = witness_url(settings)
    apart = getattr(WITNESSES.load(url), "independent", False) is True
    where = "elsewhere, with a memory of its own" if apart else "on this machine"
    if not settings.witness_url:
        where = "in the state folder, beside what it vouches for"
    weak = settings.production and not settings.witness_url
    count = len(settings.witness_for)
    others = f"; this node is one for {_count(count, 'other')}" if count else ""
    return Finding(
        section="witnesses",
        name=_kind(url),
        state="degraded" if weak else "ok" if settings.witness_url else "info",
        detail=f"1 witness, {where}{others}",
        fix="HIVE_WITNESS_URL=file:/mnt/other/witness" if weak else "",
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _kind(url: str) -> str:
    """Return what may be shown of a URL: its scheme, since the rest may hold a secret."""
    return url.partition(":")[0]
