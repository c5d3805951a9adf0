"""What reading a sign within a line comes to."""

from __future__ import annotations

from typing import Literal

Reading = tuple[str, int] | Literal[False] | None
"""What stands for it and where it ends; False: it stays as written; None: the rest of the line,
which is not there yet, must tell."""
