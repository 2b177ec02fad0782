"""The smallest agent: a plain function. `hive run ./hello.py:agent`, then `hive call hello Ada`."""


def agent(message: str) -> str:
    """Greet whoever is named."""
    return f"Hello, {message.strip() or 'stranger'}."
