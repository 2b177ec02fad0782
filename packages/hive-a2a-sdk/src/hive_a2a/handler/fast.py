"""`FastRequestHandler`: the official handler's answers, without its machinery.

Same executors, stores, events, refusals. What differs on purpose is listed in `hive_a2a.handler`.
"""

import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from a2a.server.agent_execution import (
    AgentExecutor,
    RequestContext,
    RequestContextBuilder,
    SimpleRequestContextBuilder,
)
from a2a.server.cluster import (
    ConcurrentTaskModificationError,
    StoredTask,
    TaskEventStream,
    VersionedEvent,
    VersionedTaskStore,
)
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.tasks import (
    InMemoryTaskStore,
    PushNotificationConfigStore,
    PushNotificationSender,
    TaskStore,
)
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskState,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import (
    ExtendedAgentCardNotConfiguredError,
    InvalidAgentResponseError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.proto_utils import warn_on_missing_required_fields
from a2a.utils.task import apply_history_length, validate_history_length, validate_page_size

from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.handler.input_modes import admit_input_modes
from hive_a2a.handler.listeners import (
    AnswerListener,
    StreamListener,
    TaskListener,
    admit_task_id,
)
from hive_a2a.handler.live import OngoingTask, TurnParts
from hive_a2a.handler.live_tasks import OngoingTasks
from hive_a2a.handler.memory import MemoryTaskStore
from hive_a2a.handler.push_calls import PushConfigCalls
from hive_a2a.handler.record import TERMINAL, TaskRecord, copy_of, settles, versioned
from hive_a2a.handler.required import check_required
from hive_a2a.handler.rules import admit_open
from hive_a2a.handler.spans import spanned, spanned_stream


class FastRequestHandler(PushConfigCalls):
    """Answers the calls of A2A with an executor and a store; drop-in for `DefaultRequestHandler`.

    Call `aclose` when the server ends. Raises `ValueError` for a timeout that is not positive.
    """

    def __init__(
        self,
        agent_executor: AgentExecutor,
        task_store: TaskStore | VersionedTaskStore,
        agent_card: AgentCard,
        push_config_store: PushNotificationConfigStore | None = None,
        push_sender: PushNotificationSender | None = None,
        request_context_builder: RequestContextBuilder | None = None,
        extended_agent_card: AgentCard | None = None,
        extended_card_modifier: Callable[[AgentCard, ServerCallContext], Awaitable[AgentCard]]
        | None = None,
        push_url_validator: Callable[[str], Awaitable[bool]] | None = None,
        validate_input_modes: bool = False,  # noqa: FBT001, FBT002 - the official signature
        event_stream: TaskEventStream | None = None,
        interrupted_task_timeout: float | None = None,
        clock: WallClock | None = None,
    ) -> None:
        if interrupted_task_timeout is not None and interrupted_task_timeout <= 0:
            raise ValueError("interrupted_task_timeout must be greater than 0.")
        if isinstance(task_store, VersionedTaskStore) and event_stream is None:
            warnings.warn(
                "A VersionedTaskStore was configured without an event_stream, "
                "so cross-replica streaming is disabled",
                stacklevel=2,
            )
        for card in (agent_card, extended_agent_card):
            if card is not None:
                warn_on_missing_required_fields(card, "A card passed to FastRequestHandler:")
        self.agent_executor = agent_executor
        self.task_store = task_store
        self.extended_agent_card = extended_agent_card
        self.extended_card_modifier = extended_card_modifier
        self._card = agent_card
        self._store = versioned(task_store)
        self._push_configs = push_config_store
        self._push_url_validator = push_url_validator
        self._validate_input_modes = validate_input_modes
        self._event_stream = event_stream
        self._contexts = request_context_builder or SimpleRequestContextBuilder()
        self._live = OngoingTasks(interrupted_task_timeout)
        # These two stores never suspend; a subclass of one may.
        in_memory = type(task_store) in (MemoryTaskStore, InMemoryTaskStore)
        self._parts = TurnParts(
            executor=agent_executor,
            push_sender=push_sender,
            event_stream=event_stream,
            clock=clock or MachineClock(),
            atomic=in_memory and push_sender is None and event_stream is None,
        )

    @property
    def live_tasks(self) -> OngoingTasks:
        """Return the tasks in whose name something runs or may go on."""
        return self._live

    async def aclose(self) -> None:
        """Stop every turn and wait for it; nothing can begin afterwards. May be called again."""
        await self._live.aclose()

    @spanned("GetTask")
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """Return a task of the caller."""
        check_required(params)
        validate_history_length(params)
        return apply_history_length((await self._stored(params.id, context)).task, params)

    @spanned("ListTasks")
    async def on_list_tasks(
        self, params: ListTasksRequest, context: ServerCallContext
    ) -> ListTasksResponse:
        """Return a page of the caller's tasks."""
        check_required(params)
        validate_history_length(params)
        if params.HasField("page_size"):
            validate_page_size(params.page_size)
        page = await self._store.list(params, context)
        for task in page.tasks:
            if not params.include_artifacts:
                task.ClearField("artifacts")
            shorter = apply_history_length(task, params)
            if shorter is not task:
                task.CopyFrom(shorter)
        return page

    @spanned("CancelTask")
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Cancel a task of the caller, here or on the replica that runs it."""
        check_required(params)
        stored = await self._stored(params.id, context)
        if stored.task.status.state in TERMINAL:
            raise TaskNotCancelableError
        self._live.admit()
        live = self._live.find(params.id)
        if live is None and self._live.outlasted(params.id):
            # It ended and was opened again by its agent, which still runs here and has to hear of this.
            live = self._new_live(stored.task.context_id, stored, context, task_id=params.id)
        if live is None:
            return await self._cancel_elsewhere(stored, context)
        try:
            return await live.cancel(context)
        except UnsupportedOperationError as error:
            raise TaskNotCancelableError from error
        finally:
            live.rest()

    async def _cancel_elsewhere(self, stored: StoredTask, context: ServerCallContext) -> Task:
        # The replica that runs it, if one does, sees the new version with its next event.
        task_id = stored.task.id
        cancelled = copy_of(stored.task)
        cancelled.status.state = TaskState.TASK_STATE_CANCELED
        event = TaskStatusUpdateEvent(
            task_id=task_id, context_id=cancelled.context_id, status=cancelled.status
        )
        try:
            version = await self._store.save(
                cancelled,
                event=event,
                prev=stored.task,
                prev_version=stored.version,
                context=context,
            )
        except ConcurrentTaskModificationError:
            now = await self._stored(task_id, context)
            if now.task.status.state == TaskState.TASK_STATE_CANCELED:
                return now.task
            raise TaskNotCancelableError from None
        if self._event_stream is not None:
            await self._event_stream.publish(task_id, VersionedEvent(event=event, version=version))
        return cancelled

    @spanned("SendMessage")
    async def on_message_send(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> Message | Task:
        """Give a message to the agent; return its message, or the task when it ends or needs somebody."""
        check_required(params)
        live, request = await self._admit_message(params, context)
        listener = AnswerListener(live.task_id, at_once=params.configuration.return_immediately)
        self._begin_turn(live, request, listener)
        try:
            answer = await listener.answer()
        finally:
            listener.forget()
            live.leave(listener)
        if answer is None:
            if live.record.task is None:
                raise InvalidAgentResponseError("The agent answered nothing.")
            answer = copy_of(live.record.task)
        if isinstance(answer, Task):
            return apply_history_length(answer, params.configuration)
        return answer

    @spanned_stream("SendStreamingMessage")
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Give a message to the agent; yield what it says until its turn is over."""
        check_required(params)
        self._admit_streaming()
        live, request = await self._admit_message(params, context)
        listener = StreamListener()
        self._begin_turn(live, request, listener)
        try:
            async for event in listener.events():
                if isinstance(event, Task):
                    admit_task_id(live.task_id, event.id)
                    yield apply_history_length(event, params.configuration)
                else:
                    yield event
        finally:
            live.leave(listener)

    @spanned_stream("SubscribeToTask")
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Yield a task of the caller, then what happens to it until it ends."""
        check_required(params)
        self._admit_streaming()
        stored = await self._stored(params.id, context)
        admit_open(stored.task)
        live = self._live.find(params.id)
        if live is None and self._event_stream is not None:
            async with aclosing(self._elsewhere(stored, self._event_stream)) as events:
                async for event in events:
                    yield event
            return
        if live is None:
            self._live.admit()
            live = self._new_live(stored.task.context_id, stored, context, task_id=params.id)
        listener = StreamListener()
        live.join(listener)
        try:
            # Between these two nothing can happen to the task, so nothing is told twice or missed.
            yield copy_of(live.record.task or stored.task)
            async for event in listener.events():
                yield event
        finally:
            live.leave(listener)

    async def _elsewhere(
        self, stored: StoredTask, stream: TaskEventStream
    ) -> AsyncGenerator[Event, None]:
        yield stored.task
        async with aclosing(stream.subscribe(stored.task.id, after=stored.version)) as events:
            async for versioned_event in events:
                if not versioned_event.version.is_after(stored.version):
                    continue
                event = versioned_event.event
                yield event
                if settles(event):
                    return

    @spanned("GetExtendedAgentCard")
    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """Return the card for callers who are known."""
        check_required(params)
        if not self._card.capabilities.extended_agent_card:
            raise UnsupportedOperationError(
                "The agent does not support authenticated extended cards"
            )
        if not self.extended_agent_card:
            raise ExtendedAgentCardNotConfiguredError
        if self.extended_card_modifier:
            return await self.extended_card_modifier(self.extended_agent_card, context)
        return self.extended_agent_card

    def _admit_streaming(self) -> None:
        if not self._card.capabilities.streaming:
            raise UnsupportedOperationError("Streaming is not supported by the agent")

    async def _stored(self, task_id: str, context: ServerCallContext) -> StoredTask:
        stored = await self._store.get(task_id, context)
        if stored is None:
            raise TaskNotFoundError
        return stored

    async def _admit_message(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> tuple[OngoingTask, RequestContext]:
        configuration, message = params.configuration, params.message
        validate_history_length(configuration)
        if self._validate_input_modes:
            admit_input_modes(message, self._card)
        task_id, context_id = message.task_id or None, message.context_id or None
        stored = None
        if task_id:
            stored = await self._store.get(task_id, context)
            if stored is None:
                raise TaskNotFoundError(f"Task {task_id} not found")
            if context_id and stored.task.context_id != context_id:
                raise InvalidParamsError(
                    message=f"Context {context_id} does not match "
                    f"context {stored.task.context_id} of task {task_id}"
                )
            context_id = stored.task.context_id or None
        request = await self._contexts.build(
            params=params, task_id=task_id, context_id=context_id, task=None, context=context
        )
        if self._push_configs and configuration.HasField("task_push_notification_config"):
            config = configuration.task_push_notification_config
            await self._admit_push_url(config.url)
            await self._push_configs.set_info(request.task_id or "", config, context)
        return await self._live_for(request, task_id, stored, context), request

    async def _live_for(
        self,
        request: RequestContext,
        task_id: str | None,
        stored: StoredTask | None,
        context: ServerCallContext,
    ) -> OngoingTask:
        name = request.task_id or ""
        if name != task_id:
            # A name that was just made up; whoever makes them up may have used it before.
            stored = await self._store.get(name, context)
        self._live.admit()
        live = self._live.find(name)
        if live is None:
            live = self._new_live(
                request.context_id or "",
                stored,
                context,
                task_id=name,
                message=request.message,
                fresh=task_id is None,
            )
        return live

    def _new_live(
        self,
        context_id: str,
        stored: StoredTask | None,
        context: ServerCallContext,
        *,
        task_id: str,
        message: Message | None = None,
        fresh: bool = False,
    ) -> OngoingTask:
        record = TaskRecord(
            self._store,
            task_id=task_id,
            context_id=context_id,
            first_message=message,
            context=context,
        )
        live = OngoingTask(self._parts, self._live, record)
        live.begin(stored, fresh=fresh)
        self._live.add(live)
        return live

    def _begin_turn(
        self, live: OngoingTask, request: RequestContext, listener: TaskListener
    ) -> None:
        live.join(listener)
        live.run(request, listener)
