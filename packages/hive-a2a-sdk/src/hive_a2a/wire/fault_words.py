"""An official error as a fault, with every detail that the official dispatchers would tell."""

from a2a.utils.error_handlers import build_error_details
from a2a.utils.errors import A2AError as OfficialError
from a2a.utils.errors import InvalidParamsError

from hive_a2a.faults import Json, WireFault, fault_of_official


class DetailedFault(WireFault):
    """A fault whose details the official SDK wrote: which fields of a request are wrong."""

    said: list[Json]

    @property
    def details(self) -> list[Json]:
        """Return the typed details."""
        return self.said


def fault_of(error: WireFault | OfficialError) -> WireFault:
    """Return what a handler raised as a fault; what our own stages raised comes back as it was."""
    if isinstance(error, WireFault):
        return error
    fault = fault_of_official(error)
    if fault.metadata or not isinstance(error.data, dict) or getattr(error, "fault", None):
        return fault
    if isinstance(error, InvalidParamsError):
        detailed = DetailedFault(fault.kind, fault.message, metadata=dict(error.data))
        detailed.said = build_error_details(error)
        return detailed
    fault.metadata = dict(error.data)
    return fault
