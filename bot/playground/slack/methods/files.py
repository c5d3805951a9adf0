"""files.*: files of people and of the app."""

from __future__ import annotations

import mimetypes
import secrets
from typing import Any

from .. import mrkdwn
from ..args import Args
from ..errors import SlackFailure, invalid_arguments
from ..limits import Tier
from ..records import File, Json, Message
from ..workspace import Workspace
from .chat import postable, thread_of
from .registry import method


@method("files.info", Tier.FOUR, "files:read")
def info(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/files.info"""
    file = workspace.world.files.get(args.required("file"))
    if file is None:
        raise SlackFailure("file_not_found")
    return {"ok": True, "file": workspace.file_json(file), "comments": []}


@method("files.getUploadURLExternal", Tier.FOUR, "files:write")
def get_upload_url(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/files.getUploadURLExternal"""
    name = args.required("filename")
    if args.number("length", 0) < 1:
        raise invalid_arguments("must be greater than 0: length")
    mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
    user = workspace.settings.bot_user_id
    file = File(workspace.world.next_id("F0"), name, b"", mimetype, user)
    ticket = secrets.token_urlsafe(16)
    workspace.uploads[ticket] = file
    return {"ok": True, "upload_url": f"{workspace.base_url}upload/{ticket}", "file_id": file.id}


@method("files.completeUploadExternal", Tier.FOUR, "files:write")
def complete_upload(workspace: Workspace, args: Args) -> Json:
    """docs.slack.dev/reference/methods/files.completeUploadExternal"""
    named: Any = args.structure("files")
    if not isinstance(named, list) or not all(isinstance(each, dict) for each in named):
        raise invalid_arguments("missing required field: files")
    uploaded = {file.id: file for file in workspace.uploads.values() if file.content}
    files: list[File] = []
    for each in named:
        file = uploaded.get(str(each.get("id")))
        if file is None:
            raise SlackFailure("file_not_found")
        files.append(file)
    channel_id = args.text("channel_id")
    if channel_id:
        _share(workspace, channel_id, files, args)
    workspace.world.files.update({file.id: file for file in files})
    return {"ok": True, "files": [workspace.file_json(file) for file in files]}


def _share(workspace: Workspace, channel_id: str, files: list[File], args: Args) -> None:
    channel = postable(workspace, channel_id, by_user=False)
    settings = workspace.settings
    comment = args.text("initial_comment") or ""
    for file in files:
        file.channels.append(channel.id)
    message = Message(
        workspace.world.next_ts(),
        channel.id,
        settings.bot_user_id,
        mrkdwn.stored_text(comment),
        settings.team_id,
        thread_of(workspace, channel, args.text("thread_ts")),
        bot_id=settings.bot_id,
        app_id=settings.app_id,
        subtype="file_share",
        files=[workspace.file_json(file) for file in files],
        sent_text=comment,
    )
    workspace.note_revision(message, "files.completeUploadExternal")
    workspace.post(message)
