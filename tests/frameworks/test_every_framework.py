"""Every framework: the same conversation, streamed where the framework streams, with the real package."""

import pytest

from hive.core.task import Role
from hive.testing.guest_process import a_turn, answer_of, chunks_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio

READY_S = 90
PAST = [(Role.USER, "first"), (Role.AGENT, "echo: first")]

CONVERSATIONS = {
    "langgraph": (("langgraph>=1,<2",), "langgraph_agent.py", "agent", "langgraph"),
    "pydantic-ai": (("pydantic-ai-slim>=2,<3",), "pydantic_ai_agent.py", "agent", "pydantic-ai"),
    "openai-agents": (("openai-agents>=0.24,<1",), "openai_agents_agent.py", "", "openai-agents"),
    "agno": (("agno>=3,<4", "openai>=3,<4"), "agno_agent.py", "agent", "agno"),
    "agent-framework": (
        ("agent-framework-core>=1,<2",),
        "agent_framework_agent.py",
        "",
        "agent-framework",
    ),
    "strands": (("strands-agents>=1,<2",), "strands_agent.py", "", "strands"),
    "autogen": (
        ("autogen-agentchat>=0.7,<0.8", "autogen-ext>=0.7,<0.8"),
        "autogen_agent.py",
        "agent",
        "autogen",
    ),
    "google-adk": (("google-adk>=2,<3",), "google_adk_agent.py", "root_agent", "google-adk"),
}


@pytest.fixture(params=CONVERSATIONS)
def conversation(request):
    return CONVERSATIONS[request.param]


async def test_an_unchanged_agent_streams_its_answer_and_knows_what_was_said_before(
    conversation, python_with, agents, model_server, tmp_path
):
    requirements, path, attribute, shape = conversation
    arguments = ["--source", str(agents), "--path", path]
    arguments += ["--attribute", attribute] if attribute else []
    environment = {"OPENAI_BASE_URL": model_server, "OPENAI_API_KEY": "handle"}

    async with open_guest(
        arguments, folder=tmp_path, python=python_with(*requirements), environment=environment
    ) as guest:
        description = await guest.channel.ready(READY_S)
        first = await run_to_end(guest.channel, a_turn("hello"))
        later = await run_to_end(
            guest.channel, a_turn("again", number=2, past=PAST, context="other")
        )
        fresh = await run_to_end(guest.channel, a_turn("new", number=3, context="third"))

    assert (description.shape, description.streams) == (shape, True)
    assert answer_of(first) == "echo: hello | heard 1"
    assert len(chunks_of(first)) > 3
    assert "".join(chunks_of(first)) == "echo: hello | heard 1"
    assert answer_of(later) == "echo: again | heard 2"
    assert answer_of(fresh) == "echo: new | heard 1"  # nothing leaks from context to context
