"""The gateway as its operator meets it: one node, two providers, the clients of OpenAI and Anthropic as they are."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import anthropic
import openai
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from prometheus_client.parser import text_string_to_metric_families

from hive.protocols.models.ports import Dialect
from hive.testing.model_provider import ModelProvider, ProviderAnswer, ProviderFault
from hive.testing.node_process import HIVE, NodeProcess, free_port, node_process

KEYS = ("sk-real-of-acme-4711", "sk-real-of-beta-0815")
INPUT_TOKENS, OUTPUT_TOKENS = 37, 11
INPUT_PRICE, OUTPUT_PRICE = 150, 600
PRICES = f"""[models]
"acme-small" = {{ input = {INPUT_PRICE}, output = {OUTPUT_PRICE}, context = 128000, output_max = 64 }}
"""

ASKER = '''
import os, sys

sys.path.append("/mnt/packages")
PROMPT = "You are brief."


def asker(text):
    """Ask a model over one wire, some times; tell what the client gave or raised."""
    wire, model, times = text.split()
    told = []
    for number in range(int(times)):
        try:
            told.append(WIRES[wire](model, f"question {number}"))
        except Exception as error:
            told.append(f"{type(error).__name__}: {error}")
    return "\\n".join(told)


def chat(model, text):
    import openai

    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
    return openai.OpenAI().chat.completions.create(model=model, messages=messages).choices[0].message.content


def streamed(model, text):
    import openai

    messages = [{"role": "user", "content": text}]
    chunks = openai.OpenAI().chat.completions.create(model=model, messages=messages, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def messages(model, text):
    import anthropic

    asked = [{"role": "user", "content": text}]
    return anthropic.Anthropic().messages.create(model=model, max_tokens=50, messages=asked).content[0].text


def environment(model, text):
    return "\\n".join(f"{name}={value}" for name, value in os.environ.items())


WIRES = {"chat": chat, "streamed": streamed, "messages": messages, "environment": environment}
'''


class Served:
    """A provider on a port of its own, in a thread of its own, that can be switched off and on."""

    def __init__(self, portal: BlockingPortal, provider: ModelProvider) -> None:
        self.portal, self.provider, self.port = portal, provider, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._open = ExitStack()

    def switch_on(self) -> None:
        serving = self.provider.serving(port=self.port)
        self._open.enter_context(self.portal.wrap_async_context_manager(serving))

    def switch_off(self) -> None:
        self._open.close()

    @contextmanager
    def faulty(self, fault: ProviderFault) -> Iterator[None]:
        self.provider.fault = fault
        try:
            yield
        finally:
            self.provider.fault = ProviderFault()


class World:
    """The node, its two providers, and an agent in the words of a test."""

    def __init__(self, node: NodeProcess, acme: Served, beta: Served, folder: Path) -> None:
        self.node, self.acme, self.beta, self.folder = node, acme, beta, folder

    def ask(self, wire: str, model: str, times: int = 1) -> list[str]:
        return self.node.hive("call", "asker", f"{wire} {model} {times}").splitlines()

    def hive(self, *words: str, text: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [*HIVE, *words, "--state", str(self.node.state)],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def lines(self, *words: str) -> list[dict]:
        return [json.loads(line) for line in self.node.hive(*words, "--json").splitlines()]

    def add(self, name: str, url: str, key: str) -> None:
        code, told = self.hive("llm", "add", name, url, "--key-from-stdin", text=key)
        assert code == 0, told

    def spent(self, upstream: str) -> dict:
        groups = self.lines("cost", "--by", "upstream")[0]["groups"]
        found = [one for one in groups if one["key"]["upstream"] == upstream]
        return (
            found[0]
            if found
            else {"calls": 0, "input_tokens": 0, "output_tokens": 0, "nano_usd": 0}
        )

    def refusals(self) -> int:
        token = {"authorization": f"Bearer {self.node.token()}"}
        with urlopen(Request(f"{self.node.url}/metrics", headers=token), timeout=20) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return sum(
            int(one.value)
            for family in families
            for one in family.samples
            if one.name == "hive_refusals_total" and one.labels["check"] == "budget"
        )

    def replays(self) -> tuple[bool, dict]:
        code, told = self.hive("replay", "last", "--json")
        end = json.loads(told.splitlines()[-1])
        assert code == (0 if end["identical"] else 1)
        return end["identical"], end


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("asker")
    (folder / "asker.py").write_text(ASKER)
    (folder / "prices.toml").write_text(PRICES)
    settings = {"HIVE_OLLAMA_URL": "", "HIVE_MODEL_PRICES": str(folder / "prices.toml")}
    packages = Path(openai.__file__).parents[1]
    assert packages == Path(anthropic.__file__).parents[1]
    with start_blocking_portal() as portal, ExitStack() as ends:

        async def made(name: str, key: str, wires: frozenset[Dialect]) -> ModelProvider:
            answer = ProviderAnswer(
                pieces=("Said ", "by ", f"{name}."),
                input_tokens=INPUT_TOKENS,
                output_tokens=OUTPUT_TOKENS,
            )
            return ModelProvider(models=(f"{name}-small",), key=key, wires=wires, answer=answer)

        acme = Served(portal, portal.call(made, "acme", KEYS[0], frozenset({Dialect.CHAT})))
        beta = Served(portal, portal.call(made, "beta", KEYS[1], frozenset({Dialect.MESSAGES})))
        for one in (acme, beta):
            one.switch_on()
            ends.callback(one.switch_off)
        node = ends.enter_context(node_process(tmp_path_factory.mktemp("node"), settings))
        mounted = f"{packages}:/mnt/packages"
        node.hive("run", f"{folder}/asker.py:asker", "--yes", "--mount", mounted)
        found = World(node, acme, beta, folder)
        assert found.ask("chat", "scripted") == ["scripted answer to: question 0"]
        found.add("acme", f"openai:{acme.url}/v1", KEYS[0])
        found.add("beta", f"anthropic:{beta.url}", KEYS[1])
        node.hive("llm", "use", "fast", "acme/acme-small", "beta/beta-small")
        yield found


def test_a_provider_that_fails_is_followed_by_the_next_which_speaks_another_wire(world):
    assert world.ask("chat", "fast") == ["Said by acme."]
    before = world.beta.provider.asked
    with world.acme.faulty(ProviderFault(status=500)):
        assert world.ask("chat", "fast") == ["Said by beta."]
        assert world.ask("streamed", "fast") == ["Said by beta."]
    assert world.beta.provider.asked == before + 2
    assert world.beta.provider.seen[-1].path == "/v1/messages"
    assert world.ask("messages", "acme/acme-small") == ["Said by acme."]
    assert world.acme.provider.seen[-1].path == "/v1/chat/completions"


def test_sums_are_what_the_providers_counted(world):
    before = world.spent("acme")
    asked = world.acme.provider.asked
    assert world.ask("chat", "acme/acme-small", 3) == ["Said by acme."] * 3
    assert world.ask("streamed", "acme/acme-small", 2) == ["Said by acme."] * 2
    assert world.acme.provider.asked == asked + 5
    after = world.spent("acme")
    gone = {
        name: after[name] - before[name]
        for name in ("calls", "input_tokens", "output_tokens", "nano_usd")
    }
    assert gone == {
        "calls": 5,
        "input_tokens": 5 * INPUT_TOKENS,
        "output_tokens": 5 * OUTPUT_TOKENS,
        "nano_usd": 5 * (INPUT_TOKENS * INPUT_PRICE + OUTPUT_TOKENS * OUTPUT_PRICE),
    }


def test_a_reached_ceiling_is_the_clients_own_error_and_a_raised_one_lets_it_go_on(world):
    spent = world.lines("budget", "set", "agent:asker", "--calls", "1000")[0]["spent"]
    world.node.hive("budget", "set", "agent:asker", "--calls", str(spent + 2))
    asked, refused = world.acme.provider.asked, world.refusals()
    told = world.ask("chat", "acme/acme-small", 4)
    assert told[:2] == ["Said by acme."] * 2
    assert [one.partition(":")[0] for one in told[2:]] == ["RateLimitError"] * 2
    assert world.acme.provider.asked == asked + 2  # what is refused goes nowhere
    assert world.ask("messages", "beta/beta-small")[0].startswith("RateLimitError")
    [line] = world.lines("budget")
    assert (line["spent"], line["limit"], line["reserved"]) == (spent + 2, spent + 2, 0)
    assert world.refusals() == refused + 3  # so no client asked again
    world.node.hive("budget", "set", "agent:asker", "--calls", str(spent + 100))
    assert world.ask("chat", "acme/acme-small") == ["Said by acme."]


def test_money_is_counted_to_the_last_billionth_and_never_passes_the_ceiling(world):
    world.node.hive("budget", "set", "agent:asker", "--usd", "1000")
    spent = next(one["spent"] for one in world.lines("budget") if one["unit"] == "nano_usd")
    one_call = INPUT_TOKENS * INPUT_PRICE + OUTPUT_TOKENS * OUTPUT_PRICE
    ceiling = spent + 20 * one_call
    world.node.hive("budget", "set", "agent:asker", "--usd", f"{ceiling / 1e9:.9f}")
    asked = world.acme.provider.asked
    told = world.ask("chat", "acme/acme-small", 25)
    answered = told.count("Said by acme.")
    assert 10 < answered <= 20  # what is reserved for one call is more than it costs
    assert all(one.startswith("RateLimitError") for one in told[answered:])
    assert world.acme.provider.asked == asked + answered
    line = next(one for one in world.lines("budget") if one["unit"] == "nano_usd")
    assert (line["spent"], line["limit"], line["reserved"]) == (
        spent + answered * one_call,
        ceiling,
        0,
    )
    world.node.hive("budget", "rm", "agent:asker", "usd")


def test_a_killed_node_comes_back_with_providers_keys_ceilings_and_sums(world):
    def kept() -> dict:
        return {
            "providers": [
                (one["name"], one["url"]) for one in world.lines("llm", "list") if "name" in one
            ],
            "routes": [one for one in world.lines("llm", "list") if "alias" in one],
            "secrets": [one["name"] for one in world.lines("secret", "list")],
            "budgets": [
                (one["sum_name"], one["limit"], one["spent"]) for one in world.lines("budget")
            ],
            "acme": world.spent("acme"),
            "beta": world.spent("beta"),
        }

    world.node.hive("budget", "set", "agent:asker", "--calls", "500")
    before = kept()
    assert len(before["budgets"]) == 1
    world.node.kill()
    world.node.start()
    assert kept() == before
    assert world.ask("chat", "fast", 2) == ["Said by acme."] * 2
    assert kept()["budgets"][0][2] == before["budgets"][0][2] + 2


def test_a_run_is_done_again_changed_forked_and_compared_without_its_provider(world):
    source = world.folder / "asker.py"
    assert world.ask("chat", "acme/acme-small", 3) == ["Said by acme."] * 3
    run = world.lines("journal", "last")[0]
    assert [(one["verb"], one["outcome"]) for one in run["steps"]] == [("ask", "ok")] * 3
    sums = world.spent("acme")
    world.acme.switch_off()
    try:
        identical, end = world.replays()
        assert (identical, end["steps"]) == (True, 3)
        source.write_text(ASKER.replace("You are brief.", "You are very brief."))
        identical, end = world.replays()
        assert (identical, end["divergence"]["step"]) == (False, 1)
        assert "very" in end["divergence"]["actual"]
        source.write_text(ASKER)
        assert world.spent("acme") == sums
    finally:
        source.write_text(ASKER)
        world.acme.switch_on()
    asked = world.acme.provider.asked
    [forked] = world.lines("fork", run["run"], "--at", "2")
    world.node.wait_settled("asker", forked["run"])
    assert world.acme.provider.asked == asked + 2
    assert world.spent("acme")["calls"] == sums["calls"] + 2
    assert world.lines("diff", run["run"], forked["run"])[0]["equal"]
    assert world.ask("chat", "beta/beta-small", 3) == ["Said by beta."] * 3
    code, told = world.hive("diff", run["run"], "last")
    assert code == 1
    assert "differs at step 1" in told
    code, told = world.hive("fork", run["run"], "--at", "3")
    assert code == 0
    assert "Next:  hive journal" in told


def test_keys_of_providers_are_nowhere_that_an_agent_or_a_reader_looks(world):
    told = "\n".join(world.ask("environment", "none"))
    assert "OPENAI_API_KEY=" in told
    world.ask("chat", "fast")
    told += world.node.hive("journal", "last", "--json")
    told += world.node.hive("journal", "last", "--show", "1", "--json")
    told += world.node.hive("llm", "list", "--json") + world.node.hive("doctor", "--json")
    told += world.node.hive("logs", "asker") + (world.node.state / "node.out").read_text()
    assert "acme" in told
    for key in KEYS:
        assert key not in told
