"""A request handler of our own behind the official interface, and a task store of our own.

    fast        `FastRequestHandler`: every call of A2A
    push_calls  its calls about push notification configs
    live        a task in whose name an agent runs: turns, listeners, cancelling
    live_tasks  all of them
    rules       what an agent may say in which order
    record      what an event does to a task, and the store
    listeners   those who wait for events
    required    the check of required fields, made quick
    input_modes which media types a card takes
    memory      `MemoryTaskStore`
    spans       one span per call

`tests/unit/test_sdk_handler_same.py` holds it against the official `DefaultRequestHandlerV2`: same answers,
same stored tasks, same events in the same order. What differs, on purpose:

1. An executor that says nothing gets its caller an `InvalidAgentResponseError`; the official handler
   never answers such a call.
2. A message that names a task but no context belongs to the task's context, as the standard says (3.4);
   the official handler makes up a new one for the executor.
3. `enqueue_event` returns when the event is applied and stored, not when it is queued. An executor thus
   sees its own `current_task` change, and is slowed by a slow store in place of filling a queue.
4. A call that is cancelled is cancelled; the official handler answers it with the task as it stands.
5. Whoever subscribes gets the task as of that moment, then what comes later, nothing twice.
6. Streams get copies: an executor that changes an event after it was enqueued changes nobody's answer.
7. At most `RESTING_TASKS_MAX` tasks rest between turns; the official handler keeps them without end.
8. A turn for a task that was ended in the store behind the handler's back is refused, with any store.
9. What is neither an event nor an exception is an invalid answer; the official handler hands it on.
10. Where media types are checked, a card's `text` takes `text/plain`; the official check compares words.
11. A task that another replica ended stays as it wrote it; the official handler applies what its own
    agent had enqueued after the event that met the other's.
"""

from hive_a2a.handler.fast import FastRequestHandler
from hive_a2a.handler.memory import MemoryTaskStore

__all__ = ["FastRequestHandler", "MemoryTaskStore"]
