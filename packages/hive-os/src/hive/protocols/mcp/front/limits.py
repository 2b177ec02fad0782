"""How much one front holds at once. Counts are whole numbers, sizes bytes, times seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """The bounds of a front.

    Of a stream with ids so much is kept for a client that comes back; what goes to nobody is dropped from
    the front of it, but never the answer; `kept_max_bytes` bounds the answers that wait for their client in
    all sessions together. A session ends when it was not used for `session_idle_s`.
    """

    sessions_max: int = 1024
    sessions_per_owner_max: int = 32
    session_idle_s: float = 1800.0
    session_age_max_s: float = 86400.0
    in_flight_per_owner_max: int = 256
    streams_per_session_max: int = 16
    stream_events_max: int = 256
    stream_kept_max_bytes: int = 128 << 10
    kept_max_bytes: int = 64 << 20
    stream_max_s: float = 3600.0
    resume_s: float = 60.0
    retry_ms: int = 1000
    ping_s: float = 15.0
    answer_timeout_s: float = 3600.0
    question_timeout_s: float = 300.0
    questions_per_session_max: int = 16
    subscriptions_per_session_max: int = 256
    batch_max: int = 32
    id_max_chars: int = 256
    method_max_chars: int = 128
