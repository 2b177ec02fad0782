"""Signed packages for tests: a source, its keys, and a node's check without a node."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hive.core.randomness import SystemRandomness
from hive.execution.source import find_source
from hive.execution.source_copy import stage
from hive.node.provenance import Provenance, package_of, papers_beside
from hive.security.supply_chain.drivers.keyring import KeyringVerifier
from hive.security.supply_chain.packages import sign_package
from hive.security.supply_chain.statement import Package
from hive.security.supply_chain.trust import PackageSigner, TrustFolder, make_pair

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class SignedSource:
    """An agent's folder beside a node's state folder; `release` is trusted there, `stranger` is not."""

    top: Path
    release: PackageSigner = field(init=False)
    stranger: PackageSigner = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "agent.py").write_text("def agent(text):\n    return text\n")
        self.release, self.stranger = self.key("release"), self.key("stranger")
        self.trust.add("release", self.release.der)

    @property
    def folder(self) -> Path:
        return self.top / "mailer"

    @property
    def state(self) -> Path:
        return self.top / "state"

    @property
    def trust(self) -> TrustFolder:
        return TrustFolder(self.state / "trust")

    def key(self, name: str) -> PackageSigner:
        path = self.top / f"{name}.key"
        return make_pair(path, path.with_suffix(".pub"), SystemRandomness())

    def find(self, name: str = "mailer"):
        return find_source(
            "./mailer/agent.py:agent", cwd=self.top, home=self.top / "home", name=name
        )

    def package(self, name: str = "mailer") -> Package:
        found = self.find(name)
        assert found.visible is not None
        return package_of(found.spec, stage(found.visible, self.top / "signing"), self.top / "home")

    def sign(
        self, key: PackageSigner | None = None, *, issued=AT, sbom=None, name="mailer"
    ) -> bytes:
        """Sign the folder as it is, and lay the bundle beside it."""
        bundle = sign_package(self.package(name), key or self.release, issued=issued, sbom=sbom)
        (self.folder / f"{name}.hive-bundle.json").write_bytes(bundle)
        if sbom is not None:
            (self.folder / f"{name}.hive-sbom.json").write_bytes(sbom)
        return bundle

    def verifier(self) -> KeyringVerifier:
        return KeyringVerifier("keyring:", state=self.state)

    def provenance(self, *, demanded: bool = True, book=None) -> Provenance:
        return Provenance(
            state=self.state,
            verifier=self.verifier(),
            demanded=demanded,
            book=book,
            home=self.top / "home",
        )

    async def admit(self, *, demanded: bool = True, book=None, name: str = "mailer"):
        """Do what a deployment does before it builds: copy, keep the papers, check."""
        found = self.find(name)
        provenance = self.provenance(demanded=demanded, book=book)
        assert found.visible is not None
        stage(found.visible, self.state)
        await provenance.keep(found.spec, papers_beside(found.spec))
        return await provenance.admit(found.spec, newest=book is not None)
