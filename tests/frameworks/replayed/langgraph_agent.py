"""A shop's agent of LangGraph, as its author would write it."""

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from tools import order_id, ship, stock

agent = create_agent(ChatOpenAI(model="gpt-4o-mini"), tools=[order_id, stock, ship])
