"""The people of a workspace."""

from datetime import datetime

from router.api import cursors
from router.api.call import Answer, Call
from router.api.schemas import ListingInWorkspace, Nothing
from router.api.schemas_agents import MemberOut, MemberPage
from store import members
from store.members import Member


async def listed(call: Call[ListingInWorkspace, Nothing]) -> Answer:
    """A page of a workspace's people, newest first."""
    query = call.query
    rows = await members.page(
        call.connection,
        call.workspace_id,
        after=cursors.read(query.cursor, str),
        limit=query.limit + 1,
    )
    page, cursor = cursors.page(rows, query.limit, _place)
    data = [MemberOut.model_validate(row) for row in page]
    return Answer(MemberPage(data=data, next_cursor=cursor))


def _place(member: Member) -> tuple[datetime, str]:
    return member.created_at, member.user_id
