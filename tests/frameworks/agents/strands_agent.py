"""An agent of Strands with a model of its own."""

from strands import Agent
from strands.models.model import Model


class Echo(Model):
    def update_config(self, **model_config):
        pass

    def get_config(self):
        return {}

    async def structured_output(self, output_model, prompt, system_prompt=None, **kwargs):
        raise NotImplementedError
        yield

    async def stream(self, messages, tool_specs=None, system_prompt=None, **kwargs):
        heard = [m["content"][0]["text"] for m in messages if m["role"] == "user"]
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        for character in f"echo: {heard[-1]} | heard {len(heard)}":
            yield {"contentBlockDelta": {"delta": {"text": character}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}


agent = Agent(model=Echo(), callback_handler=None)
