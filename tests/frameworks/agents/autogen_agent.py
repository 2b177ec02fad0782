"""Agents of AutoGen: one that streams, one that does not, and a team."""

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.models import CreateResult, RequestUsage, UserMessage
from autogen_ext.models.replay import ReplayChatCompletionClient


class Echo(ReplayChatCompletionClient):
    def __init__(self):
        super().__init__(["unused"])

    def _result(self, messages):
        heard = [m.content for m in messages if isinstance(m, UserMessage) and m.source == "user"]
        return CreateResult(
            content=f"echo: {heard[-1]} | heard {len(heard)}",
            finish_reason="stop",
            usage=RequestUsage(1, 1),
            cached=False,
        )

    async def create(self, messages, **kwargs):
        return self._result(messages)

    async def create_stream(self, messages, **kwargs):
        result = self._result(messages)
        for character in result.content:
            yield character
        yield result


agent = AssistantAgent("assistant", Echo(), model_client_stream=True)
silent = AssistantAgent("silent", Echo())
team = RoundRobinGroupChat(
    [AssistantAgent("one", Echo(), model_client_stream=True)],
    termination_condition=MaxMessageTermination(2),
)
