"""Where values come from, and where they may go.

An agent that reads a web page, a mail or a file reads what strangers wrote; whatever it does afterwards may be their
wish. The node cannot see inside the agent, so it looks at both ends. What entered a run is kept by source: the
words of the user, and what came from outside. What leaves it through a tool that changes something is
taken apart: each argument that steers (whom, where, which) has to come from the user's words, or from a record that
the user's words name. A value that strangers' text brought along is refused; what is only unclear is put to a person.

Nothing here asks a model, and nothing here knows a particular agent or tool: which tools change something and which
arguments steer is read from schemas, annotations and one table of words (`words.toml`).
"""

from hive.security.labels.book import FlowBook
from hive.security.labels.sinks import Flow, FlowAnswer
from hive.security.labels.traits import ToolTraits, traits_of

__all__ = ("Flow", "FlowAnswer", "FlowBook", "ToolTraits", "traits_of")
