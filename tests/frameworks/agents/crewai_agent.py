"""A crew, a flow and a single agent of CrewAI with a model of their own."""

from crewai import Agent, BaseLLM, Crew, Task
from crewai.flow.flow import Flow, listen, start


class Echo(BaseLLM):
    def call(self, messages, *arguments, **kwargs):
        heard = [m["content"] for m in messages if m["role"] == "user"]
        return f"Thought: I know.\nFinal Answer: echo: {heard[-1][:200]} | heard {len(heard)}"


writer = Agent(role="writer", goal="write", backstory="long", llm=Echo(model="echo"))
crew = Crew(
    agents=[writer],
    tasks=[Task(description="Write about {topic}.", expected_output="a text", agent=writer)],
)


class Greeting(Flow):
    @start()
    def hear(self):
        return self.state["message"]

    @listen(hear)
    def answer(self, heard):
        return f"hello {heard}"


flow = Greeting()
