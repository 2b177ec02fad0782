"""The models door: agents ask models with their unchanged clients, and the real key stays here.

An agent's client is pointed at this door by its base URL and shows its handle as the API key. Bodies
pass byte for byte, streams included, to the one upstream that `HIVE_MODELS` names.
"""

from hive.protocols.models.door import ModelsDoor
from hive.protocols.models.drivers import UPSTREAMS, open_upstream
from hive.protocols.models.ports import Dialect, ModelAnswer, ModelHead, ModelRequest, Upstream

__all__ = [
    "UPSTREAMS",
    "Dialect",
    "ModelAnswer",
    "ModelHead",
    "ModelRequest",
    "ModelsDoor",
    "Upstream",
    "open_upstream",
]
