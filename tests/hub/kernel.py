"""Runs code in a kernel of a person's server, over the same websocket as JupyterLab."""

from __future__ import annotations

import json
import uuid
from urllib.parse import urlsplit

from tornado.httpclient import HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

from tests.fixtures import FETCH, Browser


def run_code(browser: Browser, base: str, code: str, seconds: float = 60) -> str:
    """stdout of ``code``; raises AssertionError with the traceback when it fails. ``base`` is "/user/NAME/SERVER/"."""
    browser.view(f"{base}lab")
    xsrf = next((c.value or "" for c in browser.cookies.jar if c.name == "_xsrf" and c.path == base), "")
    headers = FETCH | {"X-XSRFToken": xsrf}
    made = browser.post(f"{base}api/kernels", json={"name": "python3"}, headers=headers)
    assert made.status_code == 201, (made.status_code, made.text)
    kernel = made.json()["id"]
    try:
        return str(IOLoop(make_current=False).run_sync(lambda: _execute(browser, base, kernel, code), timeout=seconds))
    finally:
        browser.delete(f"{base}api/kernels/{kernel}", headers=headers)


async def _execute(browser: Browser, base: str, kernel: str, code: str) -> str:
    url = urlsplit(str(browser.base_url))
    cookies = "; ".join(f"{c.name}={c.value}" for c in browser.cookies.jar if base.startswith(c.path))
    channels = f"ws://{url.netloc}{base}api/kernels/{kernel}/channels"
    socket = await websocket_connect(HTTPRequest(channels, headers={"Cookie": cookies, "Origin": str(browser.base_url)}))
    message = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex, "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    await socket.write_message(json.dumps({"header": message, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}))
    printed = ""
    while True:
        answer = json.loads(await socket.read_message() or "{}")
        if answer.get("parent_header", {}).get("msg_id") != message["msg_id"]:
            continue
        if answer["msg_type"] == "stream":
            printed += answer["content"]["text"]
        if answer["msg_type"] == "error":
            raise AssertionError("\n".join(answer["content"]["traceback"]))
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            socket.close()
            return printed
