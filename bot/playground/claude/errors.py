"""The API's refusals: an HTTP status with a JSON body."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

# docs: api/errors
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STATUSES = {error_type: status for status, error_type in ERROR_TYPES.items()}
MESSAGES = {
    401: "invalid bearer token",
    429: "This request would exceed your account's rate limit. Please try again later.",
    500: "Internal server error",
    529: "Overloaded",
}


class ApiError(Exception):
    """A request that is answered with an error status."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        error_type: str | None = None,
        error_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.message = message or MESSAGES.get(status, "Error")
        self.error_type = error_type or ERROR_TYPES.get(status, "api_error")
        self.error_code = error_code
        self.headers = dict(headers or {})
        super().__init__(self.message)

    def response(self) -> web.Response:
        """The answer as the API shapes it, with a request id of its own."""
        request_id = new_id("req")
        body = error_body(self.error_type, self.message, self.error_code)
        return web.Response(
            status=self.status,
            text=json.dumps(body | {"request_id": request_id}),
            content_type="application/json",
            headers={"request-id": request_id} | self.headers,
        )


def invalid(message: str) -> ApiError:
    """The commonest refusal: 400 invalid_request_error."""
    return ApiError(400, message)


def error_body(error_type: str, message: str, error_code: str | None = None) -> dict[str, Any]:
    """The error object, in a response body as in an `event: error` of a stream."""
    error: dict[str, Any] = {"type": error_type, "message": message}
    if error_code is not None:
        error["details"] = {"error_code": error_code}
    return {"type": "error", "error": error}


def new_id(prefix: str) -> str:
    """An identifier in the style of the API, such as req_01…"""
    return f"{prefix}_01{secrets.token_hex(11)}"
