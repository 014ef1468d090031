"""Every operation of every service with values nobody should send: a refusal is a sentence, never a 500."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.faults.whole import SERVICES, Whole

CASES = 25
TEXTS = [
    *("", " ", "ml", "physics", "digits", "sam", "me", "all", "*", "default", "1", "0", "-1", "1" * 30, "x" * 300, "x" * 40_000),
    *("../../etc/passwd", "..", "/", "a/b", "%2e%2e%2f", "\0", "a\0b", "\n", "<script>alert(1)</script>", "'; DROP TABLE jobs; --"),
    *('"', "'", "''\"", "训练", "😀", "\u202eabc", "\ufeff", "a\ud800", "e\u0301", "cpu-small", "scikit-learn", "cpu", "storage"),
    *("accelerator:simulated-gpu", "2026-11", "9999-12", "0001-01", "2026-11-24T00:00:00Z", "0001-01-01T00:00:00+14:00"),
    *("9999-12-31T23:59:59-14:00", "2026-11-24", "job:1", "en", "NaN", "true", "null", "[]", "{}"),
]
INFINITY = float("inf")
NUMBERS = [
    *(0, 1, -1, 2, 16, 17, 1000, 1001, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30),
    *(0.5, -0.0, 1e308, INFINITY, -INFINITY, float("nan")),
]
# what leads on, by the name of a field or parameter: behind the first refusal lie the others
GOOD: dict[str, list[Any]] = {
    "slug": ["ml", "physics"],
    "tenant": ["ml"],
    "parent": ["ml"],
    "user": ["sam", "me", "*"],
    "name": ["digits", "sam", "scikit-learn"],
    "model": ["digits"],
    "version": ["1"],
    "profile": ["digits"],
    "flavor": ["cpu-small"],
    "resource": ["cpu", "memory", "storage"],
    "job": [1],
    "job_id": [1],
    "endpoint_id": [1],
    "environment_id": [1],
    "number": [1],
    "noun": ["job", "endpoint", "environment"],
    "month": ["2026-11"],
    "key": ["job:1"],
    "role": ["member", "admin"],
    "command": [["python", "train.py"]],
    "old": ["a password"],
    "new": ["another password 1"],
}
THINGS = [*TEXTS, *NUMBERS, None, True, False, [], {}, [[]], [None], {"a": "b"}, {"a\ud800": "b"}, [""] * 2000, {"": ""}, [1, "a"]]


class Wild:
    """Values for a schema: mostly of the right shape, with something wrong in it."""

    def __init__(self, schemas: dict[str, Any], seed: str) -> None:
        self.schemas = schemas
        self.random = random.Random(seed)

    def value(self, schema: dict[str, Any]) -> Any:
        if self.random.random() < 0.15:
            return self.random.choice(THINGS)
        if "$ref" in schema:
            return self.value(self.schemas[schema["$ref"].rsplit("/", 1)[-1]])
        if "anyOf" in schema:
            return self.value(self.random.choice(schema["anyOf"]))
        if "enum" in schema or "const" in schema:
            return self.random.choice([*schema.get("enum", [schema.get("const")]), ""])
        match schema.get("type"):
            case "object":
                return self.an_object(schema)
            case "array":
                return [self.value(schema.get("items", {})) for _ in range(self.random.choice([0, 1, 2, 5]))]
            case "integer" | "number":
                return self.random.choice([*NUMBERS, *range(5)])
            case "boolean":
                return self.random.choice([True, False])
            case "null":
                return None
            case "string":
                return self.random.choice(TEXTS)
        return self.random.choice(THINGS)

    def an_object(self, schema: dict[str, Any]) -> dict[str, Any]:
        required = schema.get("required", [])
        parts = schema.get("properties", {}).items()
        found = {name: self.named(name, part) for name, part in parts if name in required or self.random.random() < 0.5}
        if isinstance(schema.get("additionalProperties"), dict):
            found |= {self.random.choice(TEXTS): self.value(schema["additionalProperties"]) for _ in range(3)}
        if self.random.random() < 0.1:
            found[self.random.choice(TEXTS)] = 1
        return found

    def named(self, name: str, schema: dict[str, Any]) -> Any:
        return self.random.choice(GOOD[name]) if name in GOOD and self.random.random() < 0.7 else self.value(schema)

    def word(self, name: str, schema: dict[str, Any]) -> str:
        """For a path or query."""
        value = self.named(name, schema)
        return value if isinstance(value, str) else json.dumps(value)


def operations(whole: Whole, service: str) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    document = whole.client.get(f"/services/{service}/api/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path.removeprefix("/api/v1"), operation, document.get("components", {}).get("schemas", {})


def ascii_json(value: Any) -> bytes:
    """With NaN, Infinity and half surrogate pairs as a careless client writes them."""
    return json.dumps(value).encode()


def quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass")[:8000], safe="")


def fuzz(whole: Whole, service: str, who: str, cases: int) -> list[str]:
    """What went wrong, one line a case."""
    wrong = []
    for method, path, operation, schemas in operations(whole, service):
        wild = Wild(schemas, f"{who} {method} {service}{path}")
        for _ in range(cases):
            target, query = path, []
            for parameter in operation.get("parameters", []):
                text = quoted(wild.word(parameter["name"], parameter["schema"]))
                if parameter["in"] == "path":
                    target = target.replace("{" + parameter["name"] + "}", text or "%20")
                elif wild.random.random() < 0.6 and parameter["name"] != "follow":
                    query.append(f"{parameter['name']}={text}")
            more: dict[str, Any] = {}
            if "requestBody" in operation:
                body = wild.value(operation["requestBody"]["content"]["application/json"]["schema"])
                more = {"content": ascii_json(body), "headers": {"Content-Type": "application/json"}}
            target += "?" + "&".join(query) if query else ""
            reply = whole.call(who, method, service, target, **more)
            said = f"{reply.status_code} {method} {target[:300]} {more.get('content', b'')[:400]!r} {reply.text[:200]}"
            if reply.status_code >= 500 or (reply.status_code >= 400 and not str(reply.json().get("detail", "")).strip()):
                wrong.append(said)
    return wrong


@pytest.mark.parametrize("who", ["root", "sam"])
@pytest.mark.parametrize("service", SERVICES)
def test_no_request_makes_a_500(whole: Whole, service: str, who: str) -> None:
    whole.a_model()
    whole.a_job("sam")
    whole.an_endpoint("sam")
    whole.an_environment("sam")
    assert fuzz(whole, service, who, CASES) == []
    # and whatever was accepted does not break the lists for the others
    for method, path, _, _ in operations(whole, service):
        if method == "GET" and "{" not in path:
            reply = whole.call("root", "GET", service, path)
            assert reply.status_code < 500, (path, reply.text)


BROKEN = [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b'"\\ud800"', b"null", b"NaN", b"\0", b"{}" * 2]
KINDS = ["application/json", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded; charset=nonsense"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_body_that_is_no_json_is_refused(whole: Whole, service: str) -> None:
    paths = [
        (method, path.replace("{", "").replace("}", "")) for method, path, what, _ in operations(whole, service) if "requestBody" in what
    ]
    for method, path in paths:
        for body in BROKEN:
            for kind in KINDS:
                reply = whole.call("root", method, service, path, content=body, headers={"Content-Type": kind})
                where = (method, path, body[:20], kind, reply.status_code, reply.text)
                # a body may be left out where everything in it has a default
                assert reply.status_code in (200, 400, 404, 409), where
                assert reply.status_code == 200 or reply.headers["content-type"] == "application/problem+json", where
