"""`hive quarantine` and `hive watchdog`: shut an agent in, let it out, and see what the watchdog sees."""

import click

from hive.cli.client import segment
from hive.cli.completion import agent_names, quarantined_agents
from hive.cli.render import table
from hive.cli.session import Options, say, shared_options, show, show_json
from hive.core.ids import plain_text
from hive.web.watchdog import AlarmLine, QuarantinedAgent, QuarantineOrder, WatchRuleLine


@click.command(help="Shut an agent in: no turn, no call, no identity; all evidence stays.")
@click.argument("agent", required=False, shell_complete=agent_names)
@click.option("--reason", default="", help="Why, for the record.")
@shared_options
def quarantine(*, options: Options, agent: str | None, reason: str) -> int:
    """Shut an agent in, or list who is."""
    if agent is None:
        return _list(options)
    order = QuarantineOrder(agent=agent, reason=reason)
    made = options.client().post("quarantine", QuarantinedAgent, order)
    if options.json:
        show_json(made)
        return 0
    show(f"{made.agent} is in quarantine.")
    say(options, f"Let it out:  hive release {made.agent}")
    return 0


@click.command(help="Let an agent out of quarantine.")
@click.argument("agent", shell_complete=quarantined_agents)
@shared_options
def release(*, options: Options, agent: str) -> int:
    """Let an agent out."""
    options.client().delete(f"quarantine/{segment(agent)}")
    say(
        options,
        f"{agent} is out of quarantine. It stays stopped until you start it:  hive start {agent}",
    )
    return 0


@click.group(help="See which alarms were raised, and by which rules.")
def watchdog() -> None:
    """Look at the watchdog."""


@watchdog.command("alarms", help="List the alarms since the node began, newest first.")
@shared_options
def alarms(*, options: Options) -> int:
    """List the alarms."""
    found = options.client().get("alarms", list[AlarmLine])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    rows = [
        (f"{one.at:%Y-%m-%d %H:%M:%S}", one.level, one.agent or one.group, one.rule, one.reaction)
        for one in found
    ]
    for line in table(("AT", "LEVEL", "AGENT", "RULE", "REACTION"), rows) if rows else ():
        show(line)
    if not rows:
        show("No rule has fired.")
    return 0


@watchdog.command("rules", help="Print the rules that stand.")
@click.option("--load", is_flag=True, help="Read watchdog.toml of the state folder again first.")
@shared_options
def rules(*, options: Options, load: bool) -> int:
    """Print the rules."""
    client = options.client()
    found = (
        client.post("watch-rules", list[WatchRuleLine], None)
        if load
        else client.get("watch-rules", list[WatchRuleLine])
    )
    if options.json:
        for one in found:
            show_json(one)
        return 0
    for one in found:
        what = f"{one.distinct} values" if one.distinct else "lines"
        show(f"{one.id}   [{one.level}, {one.reaction}]   {plain_text(one.title)}")
        show(
            f"    {one.at_least} {what} in {one.within_s:g} s by {one.by}: {plain_text(one.match)}"
        )
    return 0


def _list(options: Options) -> int:
    found = options.client().get("quarantine", list[QuarantinedAgent])
    if options.json:
        for one in found:
            show_json(one)
        return 0
    rows = [
        (one.agent, f"{one.at:%Y-%m-%d %H:%M:%S}", one.by, plain_text(one.reason)) for one in found
    ]
    for line in table(("AGENT", "SINCE", "BY", "WHY"), rows) if rows else ():
        show(line)
    if not rows:
        show("Nobody is in quarantine.")
    return 0
