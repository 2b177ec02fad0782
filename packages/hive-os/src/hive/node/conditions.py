"""Conditions that an operator puts on tools and hosts of an agent: read from `--allow`, and found to be usable.

The grant keeps them as text; what they mean is the matter of `hive.security.capability`.
"""

from collections.abc import Sequence
from dataclasses import replace

from hive.core.allow_rules import AllowRule
from hive.core.call import Verb
from hive.core.errors import BadInputError, ConfigError, SpecError
from hive.core.grant import Grant, HostRule
from hive.core.settings import Settings
from hive.security.capability import EVERYTHING, Terms, capability_of, terms_of
from hive.security.capability.grammar import terms_in
from hive.security.capability.terms_check import check_of, split_host

WEB_PORT = 443


def allowed_by(allow: Sequence[str], needs: Grant) -> Grant:
    """Return what is asked for together with what an operator allows by name and condition.

    A name that the operator conditions has those conditions alone.

    Raises:
        SpecError: a line is no capability.

    """
    tools, hosts = dict.fromkeys(needs.tools), dict.fromkeys(needs.hosts)
    agents, models = dict.fromkeys(needs.agents), dict.fromkeys(needs.models)
    tiers = dict.fromkeys(needs.tiers)
    rules: list[AllowRule] = []
    for text in allow:
        try:
            one = capability_of(text)
        except BadInputError as error:
            raise SpecError(error.what, why=error.why, fix=error.fix) from None
        name = one.target
        if one.verb is Verb.INVOKE:
            tools[name] = None
        elif one.verb is Verb.SEND:
            agents[name] = None
        elif one.verb is Verb.ASK:
            models[name] = None
        elif one.verb is Verb.SPAWN:
            tiers[name] = None
        else:
            name, ports = split_host(one.target)
            hosts[HostRule(host=name, ports=ports or (WEB_PORT,))] = None
        if one.arguments is not None:
            kind = "tool" if one.verb is Verb.INVOKE else "host"
            rules.append(AllowRule(kind=kind, name=name, arguments=one.arguments))
    named = {(rule.kind, rule.name) for rule in rules}
    kept = (rule for rule in needs.rules if (rule.kind, rule.name) not in named)
    return replace(
        needs,
        tools=tuple(tools),
        hosts=tuple(hosts),
        agents=tuple(agents),
        models=tuple(models),
        tiers=tuple(tiers),
        rules=tuple(sorted((*kept, *rules))),
    )


def usable_rules(grant: Grant) -> Grant:
    """Return a grant whose conditions can all be read.

    Raises:
        SpecError: one cannot.

    """
    try:
        check_of(terms_of(grant))
    except BadInputError as error:
        raise SpecError(
            f"A condition of the grant cannot be used: {error.what}", why=error.why, fix=error.fix
        ) from None
    return grant


def ceiling_of(settings: Settings) -> Terms:
    """Return the most that any task may, as the settings have it.

    Raises:
        ConfigError: a line of them is no capability.

    """
    if not settings.warrant_ceiling:
        return EVERYTHING
    try:
        return terms_in(settings.warrant_ceiling)
    except BadInputError as error:
        raise ConfigError(f"HIVE_WARRANT_CEILING: {error.what}", why=error.why) from None
