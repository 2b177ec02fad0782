"""The Workload API on a real socket, spoken by the unmodified `spiffe` client."""

import threading

import anyio
import pytest
from anyio import to_thread
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe import JwtBundle, JwtSvid, WorkloadApiClient, X509Source
from spiffe.spiffe_id.spiffe_id import TrustDomain

from hive.security.identity.certificates import verified_leaf
from tests.workload_rig import DOMAIN, opened_service, served

pytestmark = pytest.mark.anyio
READER = f"spiffe://{DOMAIN}/agent/reader"


async def test_the_foreign_client_gets_an_x509_svid_and_its_bundle(tmp_path):
    async with opened_service() as service, served(service, tmp_path) as socket:

        def ask():
            with WorkloadApiClient(socket.url) as client:
                context = client.fetch_x509_context()
                return context.default_svid, context.x509_bundle_set

        svid, bundles = await to_thread.run_sync(ask)
        assert str(svid.spiffe_id) == READER
        assert len(bundles.get_bundle_for_trust_domain(TrustDomain(DOMAIN)).x509_authorities) == 1
        seen = await service.check_x509([one.public_bytes(Encoding.DER) for one in svid.cert_chain])
        assert seen.spiffe_id.text == READER
        (event,) = service.events.named("svid.issued")
        assert (event["serial"], event["subject"]) == (seen.serial, READER)
        assert event["sandbox"] == "sandbox-reader"


async def test_the_foreign_client_gets_a_jwt_svid_that_both_sides_validate(tmp_path):
    async with opened_service() as service, served(service, tmp_path) as socket:

        def ask():
            with WorkloadApiClient(socket.url) as client:
                svid = client.fetch_jwt_svid(audience={"billing"})
                checked = client.validate_jwt_svid(svid.token, "billing")
                bundles = client.fetch_jwt_bundles()
                bundle: JwtBundle = bundles.get_bundle_for_trust_domain(TrustDomain(DOMAIN))
                return svid, checked, JwtSvid.parse_and_validate(svid.token, bundle, {"billing"})

        svid, checked, alone = await to_thread.run_sync(ask)
        assert str(svid.spiffe_id) == str(checked.spiffe_id) == str(alone.spiffe_id) == READER


async def test_a_stream_gets_a_fresh_svid_at_half_life_without_asking(tmp_path):
    async with opened_service(ttl_s=2.0) as service, served(service, tmp_path) as socket:
        with anyio.fail_after(30):
            serials = await to_thread.run_sync(_serials_of_stream, socket.url, 3)
        assert len(set(serials)) == 3


async def test_a_rotated_root_reaches_the_streams_at_once_and_old_svids_stay_good(tmp_path):
    async with opened_service() as service, served(service, tmp_path) as socket:

        def watch(first: threading.Event, second: threading.Event):
            with X509Source(socket_path=socket.url) as source:
                before = source.get_x509_context().default_svid
                roots = _roots(source)
                source.subscribe_for_updates(second.set)
                first.set()
                assert second.wait(20)
                return before, source.get_x509_context().default_svid, roots, _roots(source)

        first, second = threading.Event(), threading.Event()
        results: list = []

        async def run():
            results.append(await to_thread.run_sync(watch, first, second))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                await to_thread.run_sync(first.wait, 20)
                await service.rotate(root=True)
        before, after, old_roots, new_roots = results[0]
        assert old_roots < new_roots
        for svid in (before, after):
            chain = [one.public_bytes(Encoding.DER) for one in svid.cert_chain]
            await service.check_x509(chain)
        # Whoever has the old bundle alone believes the new one too: the old root vouches for the new.
        chain = [one.public_bytes(Encoding.DER) for one in after.cert_chain]
        verified_leaf(chain, list(old_roots), now=service._clock.now())
        assert service.events.named("ca.rotated")[0]["what"] == "root"


def _roots(source: X509Source) -> frozenset[bytes]:
    bundle = source.get_bundle_for_trust_domain(TrustDomain(DOMAIN))
    return frozenset(one.public_bytes(Encoding.DER) for one in bundle.x509_authorities)


def _serials_of_stream(url: str, count: int) -> list[int]:
    serials: list[int] = []
    done = threading.Event()

    def seen(context) -> None:
        serials.append(context.default_svid.leaf.serial_number)
        if len(serials) >= count:
            done.set()

    with WorkloadApiClient(url) as client:
        stream = client.stream_x509_contexts(seen, lambda error: done.set())
        assert done.wait(20)
        stream.cancel()
    return serials[:count]
