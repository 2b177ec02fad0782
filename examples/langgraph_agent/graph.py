"""A LangGraph agent, as its own documentation would write it: nothing here knows of Hive.

`ChatOpenAI` reads its address and key from the environment, so what it asks passes the node's gate.
"""

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

model = ChatOpenAI(model="gpt-4o-mini")


async def answer(state: MessagesState) -> MessagesState:
    """Let the model answer the conversation so far."""
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
builder.add_edge("answer", END)
agent = builder.compile()
