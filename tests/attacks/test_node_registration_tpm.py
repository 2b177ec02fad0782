"""The quote of a real TPM (swtpm, spoken to by tpm2-tools): taken when it fits, refused when it is old, changed or another's."""

import pytest

from hive.core.errors import IdentityError
from hive.engines import load_migrations
from tests.registration_rig import Host, answering, keys_of, machines_file, real_tpm

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
REGISTERS = (0, 7, 16)


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


@pytest.fixture
def tpm(tmp_path):
    with real_tpm(tmp_path / "tpm") as tpm:
        yield tpm


async def refused_why(host, answer) -> str:
    with pytest.raises(IdentityError, match="not registered") as refused:
        await host.registrar.register(answer.text, by="operator")
    return refused.value.why


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
async def test_a_real_quote_vouches_and_an_old_changed_or_strange_one_does_not(
    database, tmp_path, tpm, kind
):
    pem, stranger = tpm.made("known", kind), tpm.made("stranger", kind)
    assert pem != stranger
    machines = machines_file(tmp_path, rack=(pem, tpm.registers(*REGISTERS)))
    host, keys = Host(database, machines=machines), keys_of()
    node = answering(keys)

    def answer(challenge, *, qualifier=b"", key="known", registers=REGISTERS):
        said = tpm.quote(key, qualifier or node.qualifier(challenge), *registers)
        return node.answer(challenge, quote=said[0], quote_signature=said[1])

    old, fresh = host.challenge(), host.challenge()
    assert "another challenge" in await refused_why(
        host, answer(fresh, qualifier=node.qualifier(old))
    )
    assert "no known machine" in await refused_why(host, answer(fresh, key="stranger"))
    assert "other registers" in await refused_why(host, answer(fresh, registers=(0, 7)))
    good = answer(fresh)
    tpm.measure(16)
    assert "measured" in await refused_why(host, answer(fresh))
    made = await host.registrar.register(good.text, by="operator")
    assert (made.node, made.machine_name) == (keys.node, "rack")
