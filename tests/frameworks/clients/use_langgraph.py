"""A LangGraph agent with LangChain's chat models."""

import report
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    people: int


MODELS = {
    "chat": ("langchain-openai", lambda: init_chat_model("openai:gpt-4o-mini")),
    "responses": (
        "langchain-openai",
        lambda: ChatOpenAI(model="gpt-4o-mini", use_responses_api=True),
    ),
    "messages": ("langchain-anthropic", lambda: init_chat_model("anthropic:claude-sonnet-4-5")),
    "gemini": (
        "langchain-google-genai",
        # Left alone it would ask six times, half a minute long, when the budget is spent.
        lambda: init_chat_model("google_genai:gemini-2.5-flash", max_retries=1),
    ),
}


def said(text):
    return {"messages": [("user", text)]}


def last(state):
    return state["messages"][-1].text


def streamed(agent, text):
    for chunk, _about in agent.stream(said(text), stream_mode="messages"):
        if isinstance(chunk, AIMessageChunk):
            yield str(chunk.text)


def answer(message):
    distribution, make = MODELS[message]
    model = make()
    agent = create_agent(model, tools=[report.people_in])

    def structured():
        city = model.with_structured_output(City).invoke(record)
        return report.is_bern(city.name, city.people)

    # Anthropic's typed answers come through a tool that has the name of the type.
    record = f"{report.RECORD} By City." if message == "messages" else report.RECORD
    features = {
        "plain": lambda: report.said_hello(last(agent.invoke(said(report.HELLO)))),
        "stream": lambda: report.streamed_hello(list(streamed(agent, report.HELLO))),
        "tool": lambda: report.looked_up(last(agent.invoke(said(report.QUESTION)))),
        "streamed_tool": lambda: report.looked_up("".join(streamed(agent, report.QUESTION))),
        "structured": structured,
        "refused": lambda: report.refused(lambda: agent.invoke(said(report.HELLO))),
    }
    return report.tell(["langgraph", "langchain", distribution], features)
