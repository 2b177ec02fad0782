"""A conversation, a graph that interrupts, and one without messages, as their author would write them."""

from typing import TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


class Echo(BaseChatModel):
    @property
    def _llm_type(self):
        return "echo"

    def _answer(self, messages):
        heard = [m.content for m in messages if m.type == "human"]
        return f"echo: {heard[-1]} | heard {len(heard)}"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self._answer(messages)))])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for character in self._answer(messages):
            yield ChatGenerationChunk(message=AIMessageChunk(content=character))


async def think(state: MessagesState):
    return {"messages": [await Echo().ainvoke(state["messages"])]}


def approve(state: MessagesState):
    said = interrupt({"question": "May I go on?"})
    return {"messages": [AIMessage(f"you said {said}")]}


def _conversation(node):
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph


class Report(TypedDict):
    topic: str
    report: str


def write(state: Report):
    return {"report": f"all about {state['topic']}"}


_report = StateGraph(Report)
_report.add_node("write", write)
_report.add_edge(START, "write")

agent = _conversation(think).compile()
remembering = _conversation(think).compile(checkpointer=MemorySaver())
careful = _conversation(approve).compile(checkpointer=MemorySaver())
report = _report
