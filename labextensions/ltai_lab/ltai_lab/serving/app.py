"""The ASGI application: a table of paths, nothing between the socket and the model that is not needed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson

from ltai_lab.serving.batching import Batcher
from ltai_lab.serving.errors import NoSuchPath, Refused, TooLarge, WrongMethod
from ltai_lab.serving.inputs import TO_V2, Tensor
from ltai_lab.serving.loading import Model
from ltai_lab.serving.outputs import to_lists, to_v2
from ltai_lab.serving.requests import Asked, parse_infer, parse_invocation, parse_upload
from ltai_lab.serving.settings import Settings
from ltai_lab.serving.tokens import TokenCheck

log = logging.getLogger("ltai.serving")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Reply = tuple[bytes, bytes]  # content type, body
Handler = Callable[[str, bytes], Awaitable[Reply]]  # content type and body of the request

JSON, TEXT, PROBLEM = b"application/json", b"text/plain; version=0.0.4; charset=utf-8", b"application/problem+json"
# The proxy keeps connections open and must be the one who closes them, else a request may run into a closing socket.
KEEP_ALIVE_SECONDS = 75
KEEP_ALIVE = (b"keep-alive", b"timeout=60")
CLOSE = (b"connection", b"close")
TITLES = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 413: "Too Large", 415: "Wrong Type"}
VERSION = "1.0"


@dataclass(frozen=True)
class Route:
    method: str
    handler: Handler
    open: bool = False


class Application:
    """One model behind its paths (below ``settings.prefix``)."""

    def __init__(self, settings: Settings, model: Model) -> None:
        # leaving: whoever asks is told to close its connection
        self.draining = False
        self._settings = settings
        self._model = model
        self._check_token = TokenCheck(settings.token_hashes)
        row_wise = model.row_wise if settings.batch == "auto" else settings.batch == "on"
        self._batcher = Batcher(model.predict, row_wise, settings.max_batch_rows)
        self._output_names = [tensor.name for tensor in model.outputs] if len(model.outputs) == 1 and model.schema is not None else []
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._started = perf_counter()
        self._routes = {settings.prefix + path: route for path, route in self._make_routes().items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await _refuse_other(scope, send)
        began = perf_counter()
        status, path = 200, scope["path"]
        try:
            content_type, body = await self._answer(scope, path, receive)
        except Refused as refused:
            status, content_type, body = refused.status, PROBLEM, _problem(refused)
            if status not in (401, 404):
                log.info("%s %s: %d %s", scope["method"], path, status, refused.message)
        except Disconnected:
            return
        except Exception:
            log.exception("%s %s failed", scope["method"], path)
            status, content_type, body = 500, PROBLEM, _problem(Refused("the endpoint failed; its log says why"), 500)
        name = path.rsplit("/", 1)[-1] if path in self._routes else "other"
        self._requests[name, status] += 1
        self._seconds[name] += perf_counter() - began  # type: ignore[assignment]
        headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), CLOSE if self.draining else KEEP_ALIVE]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    async def _answer(self, scope: Scope, path: str, receive: Receive) -> Reply:
        route = self._routes.get(path)
        content_type, authorization = "", b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"content-length" and int(value) > self._settings.max_body:
                raise TooLarge(f"the body has {int(value)} bytes; at most {self._settings.max_body} are taken")
        if route is None or not route.open:
            self._check_token(authorization)
        if route is None:
            raise NoSuchPath(
                f"there is nothing at {path}; the model answers at {self._settings.prefix}/v2/models/{self._settings.model_name}/infer"
            )
        if scope["method"] != route.method and (scope["method"], route.method) != ("HEAD", "GET"):
            raise WrongMethod(f"{path} takes {route.method}, not {scope['method']}")
        return await route.handler(content_type, await _read_body(receive, self._settings.max_body))

    def _make_routes(self) -> dict[str, Route]:
        model = f"/v2/models/{self._settings.model_name}"
        routes = {
            "/v2": Route("GET", self._on_server),
            "/v2/health/live": Route("GET", _on_health, open=True),
            "/v2/health/ready": Route("GET", _on_health, open=True),
            "/invocations": Route("POST", self._on_invocations),
            "/predict": Route("POST", self._on_predict),
            "/metrics": Route("GET", self._on_metrics),
            "/ping": Route("GET", _on_health, open=True),
        }
        versions = ["", f"/versions/{self._settings.model_version}"] if self._settings.model_version else [""]
        for version in versions:
            routes[model + version] = Route("GET", self._on_model)
            routes[f"{model}{version}/ready"] = Route("GET", self._on_model_ready)
            routes[f"{model}{version}/infer"] = Route("POST", self._on_infer)
        return routes

    async def _on_infer(self, content_type: str, body: bytes) -> Reply:
        asked, request = parse_infer(self._model, body)
        result = await self._predict(asked)
        outputs = to_v2(result, self._output_names)
        if "outputs" in request:
            outputs = await self._choose_outputs(request["outputs"], outputs, asked)
        answer: dict[str, Any] = {"model_name": self._settings.model_name, "outputs": outputs}
        if self._settings.model_version:
            answer["model_version"] = self._settings.model_version
        if "id" in request:
            answer["id"] = request["id"]
        return JSON, _dump(answer)

    async def _choose_outputs(self, wanted: Any, outputs: list[dict[str, Any]], asked: Asked) -> list[dict[str, Any]]:
        names = [output.get("name") for output in wanted if isinstance(output, dict)] if isinstance(wanted, list) else []
        known = {output["name"]: output for output in outputs} | ({"predict": outputs[0]} if len(outputs) == 1 else {})
        if "predict_proba" in names and self._model.probabilities is not None:
            known |= {"predict_proba": to_v2(await self._probabilities(asked), ["predict_proba"])[0]}
        missing = [name for name in names if name not in known]
        if missing:
            raise Refused(f"the model has no output {missing[0]!r}; it has {', '.join(known)}")
        return [known[name] for name in names] or outputs

    async def _on_invocations(self, content_type: str, body: bytes) -> Reply:
        result = await self._predict(parse_invocation(self._model, content_type, body))
        return JSON, _dump({"predictions": to_lists(result)})

    async def _on_predict(self, content_type: str, body: bytes) -> Reply:
        began = perf_counter()
        asked = parse_upload(self._model, content_type, body)
        result = await self._predict(asked)
        answer: dict[str, Any] = {"predictions": to_lists(result), "outputs": to_v2(result, self._output_names)}
        if self._model.probabilities is not None:
            answer["probabilities"] = to_lists(await self._probabilities(asked))
            answer["classes"] = list(self._model.classes)
        if asked.left_out:
            answer["ignored_columns"] = asked.left_out
        answer |= {"model": self._settings.model_name, "version": self._settings.model_version}
        answer["milliseconds"] = round((perf_counter() - began) * 1000, 2)
        return JSON, _dump(answer)

    async def _predict(self, asked: Asked) -> Any:
        if asked.parameters:
            return await self._batcher.alone(lambda: self._model.predict_with(asked.data, asked.parameters))
        return await self._batcher.submit(asked.data)

    async def _probabilities(self, asked: Asked) -> Any:
        ask = self._model.probabilities
        assert ask is not None
        return await self._batcher.alone(lambda: ask(asked.data))

    async def _on_server(self, content_type: str, body: bytes) -> Reply:
        return JSON, _dump({"name": "ltai-serving", "version": VERSION, "extensions": []})

    async def _on_model(self, content_type: str, body: bytes) -> Reply:
        inputs = self._model.inputs
        described = {
            "name": self._settings.model_name,
            "versions": [self._settings.model_version] if self._settings.model_version else [],
            "platform": f"mlflow_{self._model.flavor}",
            "inputs": [_describe(tensor, (-1, 1)) for tensor in inputs.columns]
            or [_describe(tensor, tensor.shape) for tensor in inputs.tensors],
            "outputs": [_describe(tensor, tensor.shape) for tensor in self._model.outputs],
        }
        return JSON, _dump(described)

    async def _on_model_ready(self, content_type: str, body: bytes) -> Reply:
        return JSON, _dump({"name": self._settings.model_name, "ready": True})

    async def _on_metrics(self, content_type: str, body: bytes) -> Reply:
        counts = self._batcher.counts
        lines = [
            f'ltai_requests_total{{path="{name}",status="{status}"}} {count}' for (name, status), count in sorted(self._requests.items())
        ]
        lines += [f'ltai_request_seconds_total{{path="{name}"}} {seconds:.6f}' for name, seconds in sorted(self._seconds.items())]
        lines += [
            f"ltai_model_calls_total {counts.calls}",
            f"ltai_model_requests_total {counts.requests}",
            f"ltai_model_rows_total {counts.rows}",
            f"ltai_model_seconds_total {counts.seconds:.6f}",
            f"ltai_uptime_seconds {perf_counter() - self._started:.1f}",
        ]
        return TEXT, ("\n".join(lines) + "\n").encode()


class Disconnected(Exception):
    """The caller went away before the body was complete."""


async def _on_health(content_type: str, body: bytes) -> Reply:
    return JSON, b"{}"


async def _read_body(receive: Receive, most: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if message["type"] == "http.disconnect":
            raise Disconnected
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise TooLarge(f"the body has more than {most} bytes")
    return b"".join(parts)


async def _refuse_other(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1003})


def _describe(tensor: Tensor, shape: Sequence[int]) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": TO_V2.get(tensor.dtype.name, "BYTES"), "shape": list(shape)}


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def _problem(refused: Refused, status: int | None = None) -> bytes:
    """RFC 9457, with the member ``error`` the Open Inference Protocol names."""
    number = status or refused.status
    title = TITLES.get(number, "Error")
    return _dump({"type": "about:blank", "title": title, "status": number, "detail": refused.message, "error": refused.message})
