"""An agent of the Microsoft Agent Framework with a chat client of its own."""

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    Message,
    ResponseStream,
)


class Echo(BaseChatClient):
    def _inner_get_response(self, *, messages, stream, options, **kwargs):
        heard = [message.text for message in messages if str(message.role) == "user"]
        answer = f"echo: {heard[-1]} | heard {len(heard)}"

        async def whole():
            return ChatResponse(messages=[Message("assistant", [answer])])

        async def updates():
            for character in answer:
                yield ChatResponseUpdate(contents=[Content.from_text(character)], role="assistant")

        if stream:
            return ResponseStream(updates(), finalizer=ChatResponse.from_updates)
        return whole()


agent = Agent(Echo(), "Be brief.", name="assistant")
