"""Real agent frameworks and model clients, each in an environment of its own."""
