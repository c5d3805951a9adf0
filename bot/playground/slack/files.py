"""Files over HTTP: downloads with the token, uploads to an address that was asked for."""

from __future__ import annotations

from aiohttp import web

from .workspace import Workspace

_SIGN_IN = (
    "<!DOCTYPE html><html><head><title>Sign in | Slack</title></head>"
    "<body><h1>Sign in to your workspace</h1></body></html>"
)


class FileServer:
    """Where `url_private` and upload addresses lead."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def download(self, request: web.Request) -> web.StreamResponse:
        """The file, or with a wrong token Slack's sign-in page, with status 200."""
        settings = self._workspace.settings
        allowed = (
            request.headers.get("Authorization") == f"Bearer {settings.bot_token}"
            and "files:read" in settings.scopes
            and not self._workspace.is_token_revoked
        )
        if not allowed:
            headers = {"x-slack-meta": "acl_fail"}
            return web.Response(text=_SIGN_IN, content_type="text/html", headers=headers)
        team, _, file_id = request.match_info["path"].split("/", 1)[0].partition("-")
        file = self._workspace.world.files.get(file_id)
        if file is None or team != settings.team_id:
            return web.Response(status=404, text=_SIGN_IN, content_type="text/html")
        if file.redirect_to and "edge" not in request.query:
            edge = f"{request.path}?edge=1"
            location = edge if file.redirect_to == "edge" else file.redirect_to
            return web.Response(status=302, headers={"Location": location})
        return web.Response(body=file.content, content_type=file.mimetype)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Bytes for an address of files.getUploadURLExternal."""
        file = self._workspace.uploads.get(request.match_info["ticket"])
        if file is None:
            return web.Response(status=404, text="not found")
        if request.content_type == "multipart/form-data":
            form = await request.post()
            part = next((each for each in form.values() if isinstance(each, web.FileField)), None)
            content = part.file.read() if part is not None else b""
        else:
            content = await request.read()
        file.content = content
        return web.Response(text=f"OK - {len(content)}")
