"""views.*: what our app shows (docs.slack.dev/reference/methods/views.open and its kin)."""

from bot.local.arguments import Arguments
from bot.local.model import Json, SlackError, invalid_arguments
from bot.local.payloads import view_json
from bot.local.surfaces import OpenView
from bot.local.view_checks import check_view
from bot.local.views import Views
from bot.local.workspace import Workspace


class ViewMethods:
    """The methods under `views.`; the view is checked before its trigger is spent."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._views = Views(workspace)

    def open(self, args: Arguments) -> Json:
        """views.open; it takes the place of whatever modals the person had open."""
        view = check_view(self._given(args), "modal")
        return self._shown(self._views.open(self._trigger(args), view))

    def push(self, args: Arguments) -> Json:
        """views.push; the trigger must come from a modal, of which three may be stacked."""
        view = check_view(self._given(args), "modal")
        return self._shown(self._views.push(self._trigger(args), view))

    def update(self, args: Arguments) -> Json:
        """views.update, by `view_id` or `external_id`."""
        if ("view_id" in args) == ("external_id" in args):
            raise invalid_arguments("must provide either view_id or external_id")
        before = self._found(args)
        view = check_view(self._given(args), before.kind)
        return self._shown(self._views.update(before, view, args.text("hash")))

    def publish(self, args: Arguments) -> Json:
        """views.publish: a person's home tab."""
        user = self._workspace.state.users.get(args.text("user_id"))
        if user is None:
            raise invalid_arguments("invalid `user_id`")
        if not self._workspace.settings.home_tab:
            raise SlackError("not_enabled")
        view = check_view(self._given(args), "home")
        return self._shown(self._views.publish(user, view, args.text("hash")))

    def _given(self, args: Arguments) -> object:
        if "view" not in args:
            raise invalid_arguments("missing required field: view")
        return args.raw("view")

    def _trigger(self, args: Arguments) -> str:
        trigger_id, pointer = args.text("trigger_id"), args.text("interactivity_pointer")
        if bool(trigger_id) == bool(pointer):
            raise invalid_arguments("must provide either trigger_id or interactivity_pointer")
        return trigger_id or pointer

    def _found(self, args: Arguments) -> OpenView:
        shelf, wanted = self._workspace.surfaces.views, args.text("external_id")
        found = shelf.get(args.text("view_id"))
        if wanted:
            found = next((one for one in shelf if one.body["external_id"] == wanted), None)
        if found is None:
            raise SlackError("not_found")
        return found

    def _shown(self, view: OpenView) -> Json:
        return {"view": view_json(self._workspace, view)}
