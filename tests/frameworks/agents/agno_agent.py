"""An agent and a team of Agno; their model is wherever OPENAI_BASE_URL says."""

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.team import Team

agent = Agent(name="assistant", model=OpenAIChat(id="stub"))
team = Team(
    name="team",
    members=[Agent(name="member", model=OpenAIChat(id="stub"))],
    model=OpenAIChat(id="stub"),
)
