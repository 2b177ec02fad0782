"""Finds the agent in its source and the adapter that fits its shape; runs inside the sandbox only.

No framework is imported here: what an object is, is read from the names of its classes.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from hive_guest.adapters import FRAMEWORKS, adapter_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Final

    from hive_guest.shapes import Foreign, Loaded

LIKELY_NAMES: Final = (
    "agent",
    "root_agent",
    "graph",
    "app",
    "crew",
    "team",
    "workflow",
    "flow",
    "main",
    "run",
    "handle",
    "respond",
    "chat",
)
FACTORY_PREFIXES: Final = ("make_", "create_", "build_", "get_", "new_")


class UnusableError(Exception):
    """The agent cannot be used, and what its author can do about it."""

    def __init__(self, error: str, fix: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.fix = fix


def load_python(source: str, path: str, attribute: str) -> Loaded:
    """Import a file of the source, find the agent in it and fit an adapter.

    Raises:
        UnusableError: the file, the agent or a fitting adapter is missing, or the import raised.

    """
    try:
        module = import_file(source, path)
        name, agent = find_agent(module, attribute)
        adapter, agent = fit(name, agent)
        loaded: Loaded = adapter.load(agent)
    except UnusableError:
        raise
    except BaseException as error:  # a stranger's module may raise anything at all
        sys.__excepthook__(type(error), error, error.__traceback__)
        kind = type(error).__name__
        message = f"{path} could not be loaded: {kind}: {error}"
        missing = getattr(error, "name", "") if isinstance(error, ModuleNotFoundError) else ""
        fix = (
            f"Add the package of `{missing}` to the agent's requirements."
            if missing
            else "Correct it; the log has the traceback."
        )
        raise UnusableError(message, fix) from error
    loaded.detail = loaded.detail or f"{path}:{name}"
    return loaded


def import_file(source: str, path: str) -> ModuleType:
    """Import a file of the source folder under the name that its own imports expect.

    Raises:
        UnusableError: there is no such file.

    """
    file = os.path.join(source, path)
    if os.path.isdir(file):
        file = os.path.join(file, "__init__.py")
    if not path or not os.path.isfile(file):
        raise UnusableError(f"There is no file {path!r} in the agent's source.")
    folder, names = _package_of(source, file)
    sys.path[:0] = [folder] if folder == source else [folder, source]
    dotted = ".".join(names)
    known = names[0] in sys.modules or names[0] in sys.stdlib_module_names
    if not known and all(name.isidentifier() for name in names):
        module = import_module(dotted)
        if module.__file__ and os.path.samefile(module.__file__, file):
            return module
    return _import_alone(file)


def _package_of(source: str, file: str) -> tuple[str, list[str]]:
    """Return the folder to search, and the dotted name of the file from there."""
    folder, last = os.path.split(file)
    stem = last[: -len(".py")] if last.endswith(".py") else last
    names = [] if stem == "__init__" else [stem]
    while folder != source and os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, last = os.path.split(folder)
        names.insert(0, last)
    return folder, names or [stem]


def _import_alone(file: str) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    name = "hive_agent_source"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UnusableError(f"{os.path.basename(file)} is no Python file.")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def find_agent(module: ModuleType, attribute: str) -> tuple[str, Any]:
    """Return the named object of a module, or the one that looks like an agent.

    Raises:
        UnusableError: there is none, or there are several.

    """
    if attribute:
        found: Any = module
        for name in attribute.split("."):
            if not hasattr(found, name):
                known = ", ".join(candidates(module)) or "none"
                error = (
                    f"{module.__name__} has no {attribute!r}; what looks like an agent: {known}."
                )
                raise UnusableError(error, "Name one of them after the colon of `path.py:name`.")
            found = getattr(found, name)
        return attribute, found
    names = candidates(module)
    likely = [name for name in LIKELY_NAMES if name in names]
    if not likely and len(names) != 1:
        what = f"several things look like an agent: {', '.join(names)}" if names else "no agent"
        raise UnusableError(
            f"{module.__name__} names {what}." if names else "The file holds no agent.",
            "Say which with `path.py:name`.",
        )
    name = likely[0] if likely else names[0]
    return name, getattr(module, name)


def candidates(module: ModuleType) -> list[str]:
    """Return the names of a module that look like agents: framework objects, else own functions."""
    public = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    known = [name for name, value in public.items() if adapter_of(value) in FRAMEWORKS]
    if known:
        return known
    # What the module itself wrote; an imported function is a tool of the agent, not the agent.
    return [
        name
        for name, value in public.items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]


def fit(name: str, agent: Foreign) -> tuple[Any, Any]:
    """Return the adapter for an agent, and the agent as that adapter takes it.

    A class is made an object and a factory is called, both only if they need no argument.

    Raises:
        UnusableError: nothing fits.

    """
    known: str | None = None
    for _ in range(2):
        if isinstance(agent, type) and adapter_of(agent) is None:
            agent = agent()
        known = adapter_of(agent)
        if known is not None and known != "plain":
            return import_module(f"hive_guest.adapters.{known}"), agent
        if name.rpartition(".")[2].startswith(FACTORY_PREFIXES) and callable(agent):
            agent, name = agent(), ""
            continue
        makes_crew = getattr(agent, "crew", None)  # a project class of CrewAI
        if not callable(makes_crew):
            break
        agent = makes_crew()
    if known is None:
        raise UnusableError(
            f"{name} is a {type(agent).__name__}, which no adapter fits.",
            "Name a function that takes a text, or an agent of a framework that Hive knows.",
        )
    return import_module(f"hive_guest.adapters.{known}"), agent
