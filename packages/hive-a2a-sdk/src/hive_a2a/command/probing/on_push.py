"""Probes of webhooks: may a caller aim the server's own requests at what only the server reaches?

A webhook is registered for the probe's own task, which is over or about to be; one that is accepted is removed
at once.
"""

from collections.abc import Sequence
from typing import Final

from hive_a2a.command.probing.agent import ProbedAgent
from hive_a2a.command.probing.findings import (
    AttackProbe,
    Severity,
    Sight,
    fails,
    not_applicable,
    unclear,
    withstands,
)

NO_PUSH: Final = -32003
METADATA: Final = (
    "http://169.254.169.254/hive-probe",
    "https://169.254.169.254/hive-probe",
    "https://[::ffff:169.254.169.254]/hive-probe",
    "https://[fd00:ec2::254]/hive-probe",
)
PRIVATE: Final = (
    "https://10.0.0.1:9/hive-probe",
    "https://127.0.0.1:9/hive-probe",
    "https://[::1]:9/hive-probe",
    "https://localhost:9/hive-probe",
    "https://2130706433:9/hive-probe",
    "https://[64:ff9b::7f00:1]:9/hive-probe",
    "https://[2002:7f00:1::]:9/hive-probe",
)
STRANGE: Final = (
    "file:///etc/hostname",
    "ftp://192.0.2.1/hive-probe",
    "https://name:word@192.0.2.1/hive-probe",
)


async def _register(agent: ProbedAgent, urls: Sequence[str]) -> Sight:
    if agent.capabilities.get("pushNotifications") is not True:
        return not_applicable("The card offers no push notifications.")
    if not agent.task:
        return unclear("The agent gave the probe no task to register a webhook for.")
    taken: list[str] = []
    answer = ""
    for number, url in enumerate(urls):
        named = {"taskId": agent.task, "id": f"hive-probe-{number}"}
        reply = await agent.call("CreateTaskPushNotificationConfig", {**named, "url": url})
        if reply.code == NO_PUSH:
            return not_applicable("The server offers no push notifications.")
        if not reply.status or reply.kept_out:
            return unclear(f"The answer was {reply}.")
        answer = str(reply)
        if reply.ok:
            taken.append(url)
            await agent.call("DeleteTaskPushNotificationConfig", named)
    if taken:
        return fails(f"{len(taken)} of {len(urls)} were accepted: {', '.join(taken)}.")
    return withstands(f"All {len(urls)} were refused ({answer}).")


async def metadata_webhook(agent: ProbedAgent) -> Sight:
    """Aim at the metadata service of a cloud."""
    return await _register(agent, METADATA)


async def private_webhook(agent: ProbedAgent) -> Sight:
    """Aim at the server itself and its network, in several ways to write it."""
    return await _register(agent, PRIVATE)


async def strange_webhook(agent: ProbedAgent) -> Sight:
    """Aim with another scheme, or with a name and a password in the URL."""
    return await _register(agent, STRANGE)


PUSH_PROBES: Final = (
    AttackProbe(
        id="push-metadata",
        title="Webhook to the metadata service",
        severity=Severity.CRITICAL,
        clause="13.2",
        sends="four webhooks for the probe's own task, each removed at once if accepted",
        fix="Resolve the host, refuse what is not public, and look again at each delivery.",
        run=metadata_webhook,
    ),
    AttackProbe(
        id="push-private",
        title="Webhook into the server's network",
        severity=Severity.HIGH,
        clause="13.2",
        sends="seven webhooks for the probe's own task, each removed at once if accepted",
        fix="Resolve the host, refuse what is not public, and look again at each delivery.",
        run=private_webhook,
    ),
    AttackProbe(
        id="push-scheme",
        title="Webhook that is no plain https URL",
        severity=Severity.MEDIUM,
        clause="13.2",
        sends="three webhooks for the probe's own task, each removed at once if accepted",
        fix="Take https URLs without credentials only.",
        run=strange_webhook,
    ),
)
