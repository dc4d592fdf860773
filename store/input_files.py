"""Files that people share with a message: what became of each, so that nothing is fetched twice.

pending ──fetched──▶ uploaded ──mounted──▶ ready      image, document and text: ready at once
   └──────────────────▶ refused ◀────┘

Kept with the input: `retention.drop_input_files` takes them. Every write is under the caller's fence.
"""

from dataclasses import dataclass
from uuid import UUID

from store.database import Connection
from store.leases import Lease


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of an input, as far as it has come; `mounted_in` is a runtime session."""

    input_id: UUID
    slack_file_id: str
    state: str
    attempts: int
    name: str
    kind: str | None
    media_type: str | None
    size: int | None
    content: str | None
    runtime_file_id: str | None
    mount_path: str | None
    mounted_in: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that an input names, in its order; `reason` where it is refused from the first."""

    slack_file_id: str
    name: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class FoundFile:
    """What was read of a file: the `content` of a text, the `runtime_file_id` of all others."""

    name: str
    kind: str
    media_type: str
    size: int
    content: str | None = None
    runtime_file_id: str | None = None


# $1 agent, $2 input, side by side: $3 Slack's ids, $4 names, $5 reasons
_BEGIN = """
INSERT INTO input_files (deployed_agent_id, workspace_id, session_id, input_id, slack_file_id,
    position, name, reason, state)
SELECT i.deployed_agent_id, i.workspace_id, i.session_id, i.id, f.slack_id, f.position, f.name,
       f.reason, CASE WHEN f.reason IS NULL THEN 'pending' ELSE 'refused' END
FROM session_inputs i,
     unnest($3::text[], $4::text[], $5::text[]) WITH ORDINALITY
         AS f (slack_id, name, reason, position)
WHERE i.deployed_agent_id = $1 AND i.id = $2
ON CONFLICT DO NOTHING
"""


async def begin(connection: Connection, lease: Lease, input_id: UUID, new: list[NewFile]) -> None:
    """Notes the files of an input, each once."""
    await connection.execute(
        _BEGIN,
        lease.deployed_agent_id,
        input_id,
        [n.slack_file_id for n in new],
        [n.name for n in new],
        [n.reason for n in new],
    )


# $1 agent, $2 inputs
_OF = """
SELECT input_id, slack_file_id, state, attempts, name, kind, media_type, size, content,
       runtime_file_id, mount_path, mounted_in, reason
FROM input_files WHERE deployed_agent_id = $1 AND input_id = ANY($2::uuid[])
ORDER BY input_id, position
"""


async def of(connection: Connection, lease: Lease, inputs: list[UUID]) -> list[InputFile]:
    """The files of inputs, those of each in their order."""
    rows = await connection.fetch(_OF, lease.deployed_agent_id, inputs)
    return [InputFile(**row) for row in rows]


# $1 agent, $2 input, $3 Slack's id, $4 how many more
_ATTEMPT = """
UPDATE input_files SET attempts = attempts + $4
WHERE deployed_agent_id = $1 AND input_id = $2 AND slack_file_id = $3 AND state = 'pending'
RETURNING attempts
"""


async def attempt(connection: Connection, lease: Lease, file: InputFile) -> int:
    """Counts a fetch before it begins: also those that nobody lives to tell of. The new count."""
    count: int = await connection.fetchval(
        _ATTEMPT, lease.deployed_agent_id, file.input_id, file.slack_file_id, 1
    )
    return count


async def uncount(connection: Connection, lease: Lease, file: InputFile) -> None:
    """Takes a fetch back that something else than the file has ended."""
    await connection.execute(
        _ATTEMPT, lease.deployed_agent_id, file.input_id, file.slack_file_id, -1
    )


# $1 agent, $2 input, $3 Slack's id, $4 name, $5 kind, $6 media type, $7 size, $8 content,
# $9 runtime file
_READ = """
UPDATE input_files
SET name = $4, kind = $5, media_type = $6, size = $7, content = $8, runtime_file_id = $9,
    state = CASE WHEN $5 = 'resource' THEN 'uploaded' ELSE 'ready' END
WHERE deployed_agent_id = $1 AND input_id = $2 AND slack_file_id = $3 AND state = 'pending'
"""


async def read(connection: Connection, lease: Lease, file: InputFile, found: FoundFile) -> None:
    """Pending → uploaded for a resource, which is still to be mounted; else ready."""
    await connection.execute(
        _READ,
        lease.deployed_agent_id,
        file.input_id,
        file.slack_file_id,
        found.name,
        found.kind,
        found.media_type,
        found.size,
        found.content,
        found.runtime_file_id,
    )


# $1 agent, $2 input, $3 Slack's id, $4 path, $5 runtime session
_MOUNTED = """
UPDATE input_files SET state = 'ready', mount_path = $4, mounted_in = $5
WHERE deployed_agent_id = $1 AND input_id = $2 AND slack_file_id = $3
  AND state IN ('uploaded', 'ready') AND kind = 'resource'
"""


async def mounted(
    connection: Connection, lease: Lease, file: InputFile, path: str, runtime_session: str
) -> None:
    """Uploaded → ready; also ready again, where another runtime session took the place of the first."""
    await connection.execute(
        _MOUNTED, lease.deployed_agent_id, file.input_id, file.slack_file_id, path, runtime_session
    )


# $1 agent, $2 input, $3 Slack's id, $4 reason
_REFUSE = """
UPDATE input_files
SET state = 'refused', reason = $4, content = NULL, mount_path = NULL, mounted_in = NULL
WHERE deployed_agent_id = $1 AND input_id = $2 AND slack_file_id = $3 AND state <> 'refused'
"""


async def refuse(connection: Connection, lease: Lease, file: InputFile, reason: str) -> None:
    """Ends a file that the agent will not get."""
    await connection.execute(
        _REFUSE, lease.deployed_agent_id, file.input_id, file.slack_file_id, reason
    )
