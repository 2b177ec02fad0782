"""What the node sets around a guest, and where the guest begins."""

from pathlib import Path
from typing import Final

MAIN_PATH: Final = str(Path(__file__).with_name("__main__.py"))
"""The file to run (`python -I MAIN_PATH ...`): faster by some milliseconds than its folder."""

FOLDER: Final = str(Path(__file__).parent)
"""What a sandbox must be able to read; nothing beside it is needed."""

TURN_FD: Final = 3
TURN_FD_VARIABLE: Final = "HIVE_TURN_FD"
HANDLE_VARIABLE: Final = "HIVE_HANDLE"
GATE_VARIABLE: Final = "HIVE_GATE"
WORK_VARIABLE: Final = "HIVE_WORK"

TELEMETRY_OFF: Final[dict[str, str]] = {
    "AGNO_TELEMETRY": "false",
    "ANONYMIZED_TELEMETRY": "False",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "SCARF_NO_ANALYTICS": "true",
}
"""Reports that frameworks would send to their makers: all off, whatever the agent's code says."""
