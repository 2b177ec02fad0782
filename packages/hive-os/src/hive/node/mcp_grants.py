"""The grants of the node's authorization server as their operator uses them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hive.protocols.mcp.oauth.door import OAuthDoor
from hive.web.mcp_grants import OauthGrantDesk, OauthGrantLine


@dataclass(frozen=True, slots=True)
class NodeGrants(OauthGrantDesk):
    """The grants of one node."""

    door: OAuthDoor

    async def lines(self) -> Sequence[OauthGrantLine]:
        """Tell what stands, newest first."""
        return [
            OauthGrantLine(
                id=one.grant.id,
                client=one.grant.client,
                resource=one.grant.resource,
                scopes=sorted(one.grant.scopes),
                created_at=one.created_at,
                ends_at=one.ends_at,
                name=one.name,
                bound=bool(one.grant.jkt),
            )
            for one in await self.door.grants()
        ]

    async def revoke(self, grant: str) -> None:
        """End a grant and all that is open under it.

        Raises:
            NotFoundError: there is none, or it has ended.

        """
        await self.door.end_grant(grant)
