"""An agent of Google's ADK with a model of its own."""

from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.models import BaseLlm, LlmResponse
from google.genai import types


def _said(text, *, partial):
    content = types.Content(role="model", parts=[types.Part(text=text)])
    return LlmResponse(content=content, partial=partial)


class Echo(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        heard = [c.parts[0].text for c in llm_request.contents if c.role == "user"]
        answer = f"echo: {heard[-1]} | heard {len(heard)}"
        if stream:
            for character in answer:
                yield _said(character, partial=True)
        yield _said(answer, partial=False)


root_agent = LlmAgent(name="assistant", model=Echo(model="echo"), instruction="Be brief.")
application = App(name="application", root_agent=LlmAgent(name="inner", model=Echo(model="echo")))
