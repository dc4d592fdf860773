"""Session resources: /v1/sessions/{id}/resources. Only files are played here."""

from pathlib import PurePosixPath

from aiohttp import web

from router.runtime.local.model import Session
from router.runtime.local.paging import Query, cut_page
from router.runtime.local.wire import (
    ApiError,
    Json,
    bad_request,
    new_id,
    not_found,
    parse_time,
    read_object,
    stamp,
)
from router.runtime.local.world import World

_UPLOADS = PurePosixPath("/mnt/session/uploads")
_FIELDS = {"type", "file_id", "mount_path"}
_MOST_FILES = 500
_MOST_PAGE = 1000


class Resources:
    """The routes of session resources."""

    def __init__(self, world: World) -> None:
        """Reads and writes `world`."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """All routes, each named as the client's method."""
        resources = "/v1/sessions/{session_id}/resources"
        resource = f"{resources}/{{resource_id}}"
        return [
            web.get(resources, self.list_resources, name="resources.list"),
            web.post(resources, self.add, name="resources.add"),
            web.get(resource, self.retrieve, name="resources.retrieve"),
            web.post(resource, self.update, name="resources.update"),
            web.delete(resource, self.delete, name="resources.delete"),
        ]

    async def list_resources(self, request: web.Request) -> web.Response:
        """GET …/resources in the order in which they came; all of them without a limit."""
        query = Query(request, {"limit", "page"})
        page = cut_page(
            self._session(request).head.resources,
            lambda resource: [parse_time(resource["created_at"], "created_at")],
            cursor=query.text("page"),
            limit=query.number("limit", _MOST_PAGE, _MOST_PAGE),
            descending=False,
        )
        return web.json_response(page.json(dict))

    async def add(self, request: web.Request) -> web.Response:
        """POST …/resources: mounts a copy of a file."""
        session = self._session(request)
        if session.live.status == "terminated":
            raise bad_request(f"Session {session.id} is terminated and cannot be changed.")
        made = mount(self._world, session, await read_object(request), "")
        self._world.commit(session, head=True)
        return web.json_response(made)

    async def retrieve(self, request: web.Request) -> web.Response:
        """GET …/resources/{id}."""
        return web.json_response(self._resource(request))

    async def update(self, request: web.Request) -> web.Response:
        """POST …/resources/{id}: rotates a repository's token, which files have none of."""
        resource = self._resource(request)
        raise bad_request(f"Resource {resource['id']} has no authorization_token.")

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE …/resources/{id}: the session's copy goes too."""
        session, resource = self._session(request), self._resource(request)
        session.head.resources.remove(resource)
        self._world.commit(session, head=True)
        self._world.files.drop(self._world.files.get(resource["file_id"]))
        return web.json_response({"id": resource["id"], "type": "session_resource_deleted"})

    def _session(self, request: web.Request) -> Session:
        return self._world.session(request.match_info["session_id"])

    def _resource(self, request: web.Request) -> Json:
        resource_id = request.match_info["resource_id"]
        for resource in self._session(request).head.resources:
            if resource["id"] == resource_id:
                return resource
        raise not_found(f"Resource {resource_id}")


def mount(world: World, session: Session, body: object, where: str) -> Json:
    """Gives a session its copy of a file, for the caller to commit; a 400 where it cannot."""
    if not isinstance(body, dict) or body.get("type") != "file":
        raise bad_request(f"{where}type: only files can be mounted here")
    if unknown := sorted(body.keys() - _FIELDS):
        raise bad_request(f"{where}{unknown[0]}: extra inputs are not permitted")
    resources = session.head.resources
    if len(resources) >= _MOST_FILES:
        raise bad_request(f"A session takes at most {_MOST_FILES} files.")
    try:
        file = world.files.get(str(body.get("file_id")))
    except ApiError as gone:
        raise bad_request(f"{where}file_id: {gone.message}") from None
    path = _path(body.get("mount_path"), file.id, where)
    if any(resource["mount_path"] == path for resource in resources):
        raise bad_request(f"{where}mount_path: {path} is taken")
    copy = world.files.copied(file, session.id)
    at = stamp(copy.made)
    made: Json = {"type": "file", "id": new_id("sesrsc"), "file_id": copy.id, "mount_path": path}
    made |= {"created_at": at, "updated_at": at}
    resources.append(made)
    return made


def _path(wanted: object, file_id: str, where: str) -> str:
    """Where a file lies: `/data.csv` becomes a name below the folder for uploads."""
    if wanted is None:
        return str(_UPLOADS / file_id)
    if not isinstance(wanted, str) or not wanted.startswith("/") or ".." in wanted.split("/"):
        raise bad_request(f"{where}mount_path: must be an absolute path")
    path = PurePosixPath(wanted)
    return str(path if path.is_relative_to(_UPLOADS) else _UPLOADS / wanted.lstrip("/"))
