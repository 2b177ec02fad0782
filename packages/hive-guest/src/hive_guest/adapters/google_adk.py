"""An agent, workflow or app of Google's ADK: one runner, one session for each context."""

from __future__ import annotations

from importlib import import_module

from hive_guest.shapes import Answer, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any, Final

    from hive_guest.api import GuestTurn
    from hive_guest.shapes import Foreign

USER: Final = "hive"


def load(agent: Foreign) -> Loaded:
    """Wrap an agent, a workflow or an app."""
    run_config = import_module("google.adk.agents.run_config")
    runners = import_module("google.adk.runners")
    types = import_module("google.genai.types")

    kinds = {kind.__name__ for kind in type(agent).__mro__}
    if "App" in kinds:
        runner = runners.InMemoryRunner(app=agent)
    elif "BaseAgent" in kinds:
        runner = runners.InMemoryRunner(agent=agent, app_name="hive")
    else:
        runner = runners.InMemoryRunner(node=agent, app_name="hive")
    config = run_config.RunConfig(streaming_mode=run_config.StreamingMode.SSE)

    async def run(turn: GuestTurn) -> AsyncIterator[Any]:
        await _open_session(runner, turn)
        message = types.Content(role="user", parts=[types.Part(text=turn.text)])
        answer: Any = None
        async for event in runner.run_async(
            user_id=USER, session_id=turn.context_id, new_message=message, run_config=config
        ):
            if event.error_code:
                error = f"{event.error_code}: {event.error_message or ''}"
                raise RuntimeError(error)
            text = _text(event)
            if event.partial:
                yield text
            elif event.is_final_response():
                answer = text or getattr(event, "output", None) or answer
        yield Answer(answer)

    return Loaded("google-adk", run, streams=True, waits=True)


async def _open_session(runner: Foreign, turn: GuestTurn) -> None:
    """Make the context's session, with what was said before if another sandbox held it until now."""
    service, place = runner.session_service, {"app_name": runner.app_name, "user_id": USER}
    session = await service.get_session(**place, session_id=turn.context_id)
    if session is not None:
        return
    session = await service.create_session(**place, session_id=turn.context_id)
    events = import_module("google.adk.events")
    types = import_module("google.genai.types")

    agent_name = getattr(runner.agent, "name", "") or "agent"
    for role, text in turn.past():
        content = types.Content(
            role="user" if role == "user" else "model", parts=[types.Part(text=text)]
        )
        author = "user" if role == "user" else agent_name
        await service.append_event(session, events.Event(author=author, content=content))


def _text(event: Foreign) -> str:
    parts = (event.content.parts or ()) if event.content else ()
    return "".join(part.text for part in parts if part.text and not part.thought)
