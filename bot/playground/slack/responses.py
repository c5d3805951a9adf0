"""response_url: what an app may still do after a press or a command.

docs.slack.dev/interactivity/handling-user-interaction: at most five uses within thirty minutes.
"""

from __future__ import annotations

import json

from aiohttp import web

from . import mrkdwn
from .args import Args
from .errors import SlackFailure
from .methods.chat import read_content
from .records import Ephemeral, Json, Message
from .workspace import Workspace, now

_MOST_USES = 5


class ResponseUrls:
    """Answers posts to response_url."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One use of a response_url."""
        target = self._workspace.response_urls.get(request.match_info["key"])
        if target is None:
            return web.Response(status=404, text="expired_url")
        target["uses"] += 1
        if target["uses"] > _MOST_USES:
            return web.Response(status=404, text="used_url")
        try:
            args = Args(json.loads(await request.read()))
            self._apply(target, args)
        except SlackFailure as failure:
            return web.json_response(failure.body, status=400)
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        return web.Response(text="ok")

    def _apply(self, target: Json, args: Args) -> None:
        message = self._workspace.world.message(target["channel"], target["ts"] or "")
        if args.flag("delete_original"):
            if message is not None and not message.deleted:
                self._workspace.remove(message)
            return
        if "markdown_text" in args:
            raise SlackFailure("no_text")
        content = read_content(args)
        if content.is_empty:
            raise SlackFailure("no_text")
        text, blocks = content.text or "", content.blocks or []
        if args.flag("replace_original") and message is not None and not message.deleted:
            self._replace(message, text, blocks)
        elif args.text("response_type") == "in_channel":
            self._post(target, text, blocks, args.text("thread_ts"))
        else:
            ts = self._workspace.world.next_ts()
            thread_ts = args.text("thread_ts")
            note = Ephemeral(ts, target["channel"], target["user"], text, blocks, thread_ts, now())
            self._workspace.show_privately(note)

    def _replace(self, message: Message, text: str, blocks: list[Json]) -> None:
        previous = self._workspace.snapshot(message)
        message.text, message.sent_text = mrkdwn.stored_text(text), text
        message.sent_blocks = blocks
        message.set_blocks(blocks)
        self._workspace.note_revision(message, "response_url")
        self._workspace.change(message, previous)

    def _post(self, target: Json, text: str, blocks: list[Json], thread_ts: str | None) -> None:
        settings = self._workspace.settings
        message = Message(
            self._workspace.world.next_ts(),
            target["channel"],
            settings.bot_user_id,
            mrkdwn.stored_text(text),
            settings.team_id,
            thread_ts,
            bot_id=settings.bot_id,
            app_id=settings.app_id,
            sent_text=text,
            sent_blocks=blocks,
        )
        message.set_blocks(blocks)
        self._workspace.note_revision(message, "response_url")
        self._workspace.post(message)
