"""The five methods of the SPIFFE Workload API, for one connection of one sandbox.

Each call needs the standard's metadata, which a browser or a confused proxy cannot send, and a caller whom the kernel
places inside the sandbox. A stream lives as long as its identity: it hears of each renewal and each new bundle, and
ends with PERMISSION_DENIED in the moment the identity is revoked.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import anyio
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from hive.core.call import Refused
from hive.core.errors import DeniedError, HiveError, IdentityError, QuotaExceededError
from hive.security.identity.enrolments import Enrolment
from hive.security.identity.ports import TrustBundle, X509Svid
from hive.security.identity.service import IdentityService
from hive.security.identity.workload.messages import WORKLOAD

ValueT = TypeVar("ValueT")
SERVICE: Final = "SpiffeWorkloadAPI"
METADATA: Final = ("workload.spiffe.io", "true")
RETRY_S: Final = 2.0
CALLS_PER_SANDBOX_MAX: Final = 256
NOBODY: Final = "no identity issued"


class WorkloadCalls:
    """The calls of one connection. `admitted` says who it is, or why it is nobody."""

    def __init__(
        self,
        service: IdentityService,
        enrolment: Enrolment,
        *,
        admitted: Callable[[], Awaitable[Refused | None]],
        heard: Callable[[], None],
        under_way: set[object],
    ) -> None:
        self._service = service
        self._enrolment = enrolment
        self._admitted = admitted
        self._heard = heard
        self._under_way = under_way

    def mapping(self) -> Mapping[str, Handler]:
        """Return the methods by their paths."""
        one, many = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        methods = (
            ("FetchX509SVID", self._fetch_x509_svid, many, "X509SVID"),
            ("FetchX509Bundles", self._fetch_x509_bundles, many, "X509Bundles"),
            ("FetchJWTSVID", self._fetch_jwt_svid, one, "JWTSVID"),
            ("FetchJWTBundles", self._fetch_jwt_bundles, many, "JWTBundles"),
            ("ValidateJWTSVID", self._validate_jwt_svid, one, "ValidateJWTSVID"),
        )
        return {
            f"/{SERVICE}/{name}": Handler(
                self._guarded(method),
                cardinality,
                WORKLOAD[f"{message}Request"],
                WORKLOAD[f"{message}Response"],
            )
            for name, method, cardinality, message in methods
        }

    def _guarded(
        self, method: Callable[[Any, Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        async def call(stream: Any) -> None:  # noqa: ANN401 - grpclib's, of unnamed messages
            name, value = METADATA
            if stream.metadata.getall(name, None) != [value]:
                raise GRPCError(Status.INVALID_ARGUMENT, "security header missing from request")
            token = object()
            if len(self._under_way) >= CALLS_PER_SANDBOX_MAX:
                raise GRPCError(Status.RESOURCE_EXHAUSTED, "too many calls under way")
            self._under_way.add(token)
            try:
                refused = await self._admitted()
                if refused is not None:
                    raise GRPCError(Status.PERMISSION_DENIED, refused.reason)
                request = await stream.recv_message()
                self._heard()
                if request is None:
                    raise GRPCError(Status.INVALID_ARGUMENT, "no request")
                await method(stream, request)
            finally:
                self._under_way.discard(token)

        return call

    async def _fetch_x509_svid(self, stream: Any, _request: Any) -> None:  # noqa: ANN401
        shown: tuple[object, ...] = ()
        while True:
            # Taken before the look, so that what changes during it is not missed.
            changed = self._enrolment.changed
            wait_s = RETRY_S
            try:
                svid = await self._service.x509(self._enrolment)
                bundle = await self._service.bundle()
            except (DeniedError, QuotaExceededError) as error:
                raise _as_status(error) from None
            except HiveError as error:
                # Whoever has one that still counts need not hear that there is no fresh one yet.
                if not shown:
                    raise _as_status(error) from None
            else:
                if shown != (svid.serial, bundle.roots):
                    shown = (svid.serial, bundle.roots)
                    await stream.send_message(_x509_response(svid, bundle))
                due_s = self._service.renew_in_s(svid)
                # An authority elsewhere may go on giving the same one for a while.
                wait_s = due_s if due_s > 0 else RETRY_S
            with anyio.move_on_after(wait_s):
                await changed.wait()

    async def _fetch_x509_bundles(self, stream: Any, _request: Any) -> None:  # noqa: ANN401
        def answer(bundle: TrustBundle) -> Any:  # noqa: ANN401
            message = WORKLOAD["X509BundlesResponse"]()
            message.bundles[f"spiffe://{bundle.trust_domain}"] = b"".join(bundle.roots)
            return message

        await self._follow(stream, answer)

    async def _fetch_jwt_bundles(self, stream: Any, _request: Any) -> None:  # noqa: ANN401
        def answer(bundle: TrustBundle) -> Any:  # noqa: ANN401
            message = WORKLOAD["JWTBundlesResponse"]()
            message.bundles[f"spiffe://{bundle.trust_domain}"] = bundle.jwks
            return message

        await self._follow(stream, answer)

    async def _follow(self, stream: Any, answer: Callable[[TrustBundle], Any]) -> None:  # noqa: ANN401
        shown: TrustBundle | None = None
        while True:
            changed = self._enrolment.changed
            self._still_counts()
            try:
                bundle = await self._service.bundle()
            except HiveError as error:
                if shown is None:
                    raise _as_status(error) from None
            else:
                if bundle != shown:
                    shown = bundle
                    await stream.send_message(answer(bundle))
            await changed.wait()

    async def _fetch_jwt_svid(self, stream: Any, request: Any) -> None:  # noqa: ANN401
        if not request.audience:
            raise GRPCError(Status.INVALID_ARGUMENT, "audience must be specified")
        svid = await _asked(
            self._service.jwt(self._enrolment, list(request.audience), request.spiffe_id)
        )
        response = WORKLOAD["JWTSVIDResponse"]()
        response.svids.add(spiffe_id=svid.spiffe_id.text, svid=svid.token)
        await stream.send_message(response)

    async def _validate_jwt_svid(self, stream: Any, request: Any) -> None:  # noqa: ANN401
        if not request.audience or not request.svid:
            raise GRPCError(Status.INVALID_ARGUMENT, "audience and svid must be specified")
        self._still_counts()
        try:
            seen = await self._service.check_jwt(request.audience, request.svid)
        except IdentityError as error:
            raise GRPCError(Status.INVALID_ARGUMENT, error.why or error.what) from None
        response = WORKLOAD["ValidateJWTSVIDResponse"](spiffe_id=seen.spiffe_id.text)
        response.claims.update(dict(seen.claims))
        await stream.send_message(response)

    def _still_counts(self) -> None:
        try:
            self._service.refuse_denied(self._enrolment)
        except DeniedError as error:
            raise _as_status(error) from None


async def _asked(question: Awaitable[ValueT]) -> ValueT:
    try:
        return await question
    except HiveError as error:
        raise _as_status(error) from None


def _as_status(error: HiveError) -> GRPCError:
    if isinstance(error, DeniedError):
        return GRPCError(Status.PERMISSION_DENIED, NOBODY)
    if isinstance(error, QuotaExceededError):
        return GRPCError(Status.RESOURCE_EXHAUSTED, error.what)
    return GRPCError(Status.UNAVAILABLE, error.what)


def _x509_response(svid: X509Svid, bundle: TrustBundle) -> Any:  # noqa: ANN401
    response = WORKLOAD["X509SVIDResponse"]()
    response.svids.add(
        spiffe_id=svid.spiffe_id.text,
        x509_svid=b"".join(svid.chain),
        x509_svid_key=svid.key,
        bundle=b"".join(bundle.roots),
    )
    return response
