"""The endpoint runtime as a real process with real models."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_iris

from tests.services.serving import models_for_tests as models

REPOSITORY = Path(__file__).resolve().parents[3]
TOKEN = "open-sesame"
PREFIX = "/endpoints/ml-101/数字"
IRIS = [5.1, 3.5, 1.4, 0.2]


@dataclass
class Served:
    """One running instance."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    name: str

    def infer(self, rows: Any, datatype: str = "FP64", **more: Any) -> httpx.Response:
        array = np.asarray(rows)
        tensor = {"name": "x", "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist(), **more}
        return self.client.post(f"/v2/models/{self.name}/infer", json={"inputs": [tensor]})

    def columns(self, **columns: tuple[str, list[Any]]) -> httpx.Response:
        inputs = [{"name": n, "shape": [len(data)], "datatype": kind, "data": data} for n, (kind, data) in columns.items()]
        return self.client.post(f"/v2/models/{self.name}/infer", json={"inputs": inputs})

    def predict(self, content: bytes, kind: str, name: str = "file") -> httpx.Response:
        return self.client.post("/predict", files={"file": (name, content, kind)})


def start(folder: Path, name: str, log: Path, **env: str) -> Served:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "ltai_lab.serving"],
            env={
                **os.environ,
                "PYTHONPATH": f"{REPOSITORY / 'labextensions' / 'ltai_lab'}:{REPOSITORY}",
                "MODEL_URI": str(folder),
                "MODEL_NAME": name,
                "MODEL_VERSION": "3",
                "LTAI_PREFIX": PREFIX,
                "LTAI_LISTEN_FD": str(listener.fileno()),
                "LTAI_TOKEN_HASHES": f"{hashlib.sha256(b'other').hexdigest()},{hashlib.sha256(TOKEN.encode()).hexdigest()}",
                **env,
            },
            pass_fds=[listener.fileno()],
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}{PREFIX}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    until = time.monotonic() + 60
    while True:
        try:
            client.get("/v2/health/ready").raise_for_status()
            return Served(process, client, name)
        except httpx.HTTPError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """All models at once: their processes start side by side."""
    folder = tmp_path_factory.mktemp("models")
    makers = {
        "digits": models.save_digits,
        "table": models.save_iris_table,
        "plain": models.save_without_signature,
        "mixed": models.save_mixed,
    }
    saved = {name: make(folder / name) for name, make in makers.items()}
    with ThreadPoolExecutor() as pool:
        running = dict(zip(saved, pool.map(lambda name: start(saved[name], name, folder / f"{name}.log"), saved), strict=True))
    yield running
    for one in running.values():
        one.client.close()
        one.process.send_signal(signal.SIGTERM)
    assert [one.process.wait(20) for one in running.values()] == [0] * len(running)


@pytest.fixture
def digits(served: dict[str, Served]) -> Served:
    return served["digits"]


@pytest.fixture
def table(served: dict[str, Served]) -> Served:
    return served["table"]


def png(array: Any, mode: str | None = None, size: int | None = None, form: str = "PNG") -> bytes:
    image = Image.fromarray(np.asarray(array, dtype=np.uint8))
    if mode:
        image = image.convert(mode)
    if size:
        image = image.resize((size, size), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def scan(number: int) -> Any:
    return np.round(load_digits().images[number] * 255 / 16)


# ---- the protocol


def test_server_and_model_describe_themselves(digits: Served) -> None:
    assert digits.client.get("/v2").json()["name"] == "ltai-serving"
    about = digits.client.get("/v2/models/digits").json()
    assert about["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [-1, 64]}]
    assert about["versions"] == ["3"]
    assert digits.client.get("/v2/models/digits/versions/3/ready").json() == {"name": "digits", "ready": True}


def test_infer_gives_what_pyfunc_gives(digits: Served, served: dict[str, Served], tmp_path: Path) -> None:
    import mlflow

    rows = np.stack([scan(n).ravel() for n in range(40)])
    expected = mlflow.pyfunc.load_model(str(models.save_digits(tmp_path / "m"))).predict(rows)
    answer = digits.infer(rows).json()
    assert answer["outputs"] == [{"name": "output-0", "shape": [40], "datatype": "INT64", "data": expected.tolist()}]
    assert (answer["model_name"], answer["model_version"]) == ("digits", "3")


def test_the_request_id_and_chosen_outputs_come_back(digits: Served) -> None:
    tensor = {"name": "x", "shape": [1, 64], "datatype": "UINT8", "data": scan(4).astype(int).ravel().tolist()}
    body = {"id": "q-1", "inputs": [tensor], "outputs": [{"name": "predict_proba"}]}
    answer = digits.client.post("/v2/models/digits/infer", json=body).json()
    assert answer["id"] == "q-1"
    assert [(o["name"], o["shape"]) for o in answer["outputs"]] == [("predict_proba", [1, 10])]
    assert abs(sum(answer["outputs"][0]["data"]) - 1) < 1e-9


def test_a_table_takes_one_matrix_or_a_tensor_a_column(table: Served) -> None:
    names = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
    assert table.infer([IRIS]).json()["outputs"][0]["data"] == [0]
    by_name = table.columns(**{name: ("FP64", [value, value]) for name, value in zip(reversed(names), reversed(IRIS), strict=True)})
    assert by_name.json()["outputs"][0]["data"] == [0, 0]


def test_a_model_without_signature_is_checked_by_its_width(served: dict[str, Served]) -> None:
    assert served["plain"].infer([IRIS]).json()["outputs"][0]["data"] == [0]
    refused = served["plain"].infer([[1.0, 2.0]])
    assert (refused.status_code, "rows of 4 columns" in refused.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]]},
        {"instances": [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]]},
        {"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]]}},
    ],
)
def test_mlflows_own_formats_work(served: dict[str, Served], body: dict[str, Any]) -> None:
    assert served["plain"].client.post("/invocations", json=body).json() == {"predictions": [0, 2]}


def test_records_fill_a_table_in_any_order(table: Served) -> None:
    row = {"petal width (cm)": 0.2, "sepal length (cm)": 5.1, "petal length (cm)": 1.4, "sepal width (cm)": 3.5}
    assert table.client.post("/invocations", json={"dataframe_records": [row, row]}).json() == {"predictions": [0, 0]}


# ---- batches


def test_two_hundred_requests_at_once_each_get_their_own_answer(digits: Served) -> None:
    labels = load_digits().target
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: digits.infer([scan(n).ravel()]).json()["outputs"][0]["data"][0], range(200)))
    assert np.mean(np.array(answers) == labels[:200]) > 0.95
    alone = [digits.infer([scan(n).ravel()]).json()["outputs"][0]["data"][0] for n in range(0, 200, 20)]
    assert alone == answers[::20]


def test_a_bad_request_among_good_ones_fails_alone(digits: Served) -> None:
    def ask(number: int) -> int:
        return digits.infer([scan(number).ravel()] if number % 5 else [[1.0] * 63]).status_code

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(60))) == [200 if n % 5 else 400 for n in range(60)]


def test_a_model_that_looks_at_all_its_rows_is_asked_for_each_request_alone(served: dict[str, Served]) -> None:
    def ask(number: int) -> Any:
        return served["mixed"].columns(word=("BYTES", ["x" * number]), times=("INT64", [2])).json()["outputs"][0]["data"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(1, 40))) == [[number * 2 + 100] for number in range(1, 40)]


def test_what_breaks_the_model_is_its_own_failure_and_the_next_request_works(served: dict[str, Served]) -> None:
    broken = served["mixed"].columns(word=("BYTES", ["boom"]), times=("INT64", [1]))
    assert broken.status_code == 500
    assert "this word breaks me" in broken.json()["detail"]
    assert served["mixed"].columns(word=("BYTES", ["fine"]), times=("INT64", [1])).status_code == 200


# ---- pictures and files


@pytest.mark.parametrize(
    "content",
    [png(scan(7)), png(scan(7), "RGB", 64), png(scan(7), "RGBA"), png(scan(7), "L", 200), png(scan(7), "P")],
    ids=["8×8 grey", "64×64 colour", "with alpha", "200×200", "palette"],
)
def test_a_picture_of_any_size_and_mode_is_turned_into_the_models_input(digits: Served, content: bytes) -> None:
    answer = digits.predict(content, "image/png", "数字 7.png").json()
    assert answer["predictions"] == [7]
    assert answer["classes"] == list(range(10))
    assert int(np.argmax(answer["probabilities"][0])) == 7
    assert answer["milliseconds"] > 0


def test_jpeg_raw_bodies_and_unknown_types_work_by_their_content(digits: Served) -> None:
    jpeg = png(scan(7), size=64, form="JPEG")
    assert digits.client.post("/predict", content=jpeg, headers={"Content-Type": "image/jpeg"}).json()["predictions"] == [7]
    assert digits.predict(jpeg, "application/octet-stream", "upload").json()["predictions"] == [7]


def test_csv_with_and_without_header_and_with_the_answer_in_it(digits: Served, table: Served) -> None:
    rows = [",".join(f"{value:.0f}" for value in scan(n).ravel()) for n in (3, 7)]
    assert digits.predict("\n".join(rows).encode(), "text/csv", "two.csv").json()["predictions"] == [3, 7]
    header = ",".join(f"p{n}" for n in range(64)) + ",label"
    answer = digits.predict("\r\n".join([header, rows[0] + ",3", ""]).encode(), "text/csv", "one.csv").json()
    assert (answer["predictions"], answer["ignored_columns"]) == ([3], ["label"])
    frame = load_iris(as_frame=True).frame.iloc[[0, 149], ::-1].to_csv(index=False)
    answer = table.predict(frame.encode(), "text/csv", "iris.csv").json()
    assert (answer["predictions"], answer["ignored_columns"]) == ([0, 2], ["target"])


def test_json_files_in_any_of_the_usual_shapes(digits: Served) -> None:
    row = scan(7).ravel().tolist()
    for body in ([row], row, {"instances": [row]}, {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP64", "data": row}]}):
        assert digits.client.post("/predict", json=body).json()["predictions"] == [7]


# ---- what is refused


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[]", "object"),
        (b"{}", "inputs"),
        (b'{"inputs": []}', "at least one"),
        (b'{"inputs": [3]}', "object"),
        (b'{"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP65", "data": [1]}]}', "FP65"),
        (b'{"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP64", "data": [1]}]}', "do not fill"),
        (b'{"inputs": [{"name": "x", "shape": [-1, 64], "datatype": "FP64", "data": [1]}]}', "shape"),
        (b'{"inputs": [{"name": "x", "shape": "1", "datatype": "FP64", "data": [1]}]}', "shape"),
        (b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}', "[-1, 64]"),
        (b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [[1], [1, 2]]}]}', "differ in length"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": ["a"]}]}', "FP64 values"),
        (b'{"inputs": [{"name": "x", "shape": [1], "datatype": "UINT8", "data": [300]}]}', "UINT8 values"),
        (b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64"}]}', "data"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_a_bad_infer_request_gets_400_and_a_sentence(digits: Served, content: bytes, words: str) -> None:
    reply = digits.client.post("/v2/models/digits/infer", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400, reply.text
    assert words in reply.json()["error"]
    assert reply.json()["detail"] == reply.json()["error"]


@pytest.mark.parametrize(
    ("content", "kind", "name", "status"),
    [
        (b"no picture", "image/png", "a.png", 400),
        (b"", "image/png", "a.png", 400),
        (png(scan(1))[:40], "image/png", "a.png", 400),
        (b"1,2\n3\n", "text/csv", "a.csv", 400),
        (b"a,b\n", "text/csv", "a.csv", 400),
        (b"1,x\n", "text/csv", "a.csv", 400),
        (b"\xff\xfe", "text/csv", "a.csv", 400),
        (b"", "text/csv", "a.csv", 400),
        (b"{", "application/json", "a.json", 400),
        (b'"text"', "application/json", "a.json", 400),
        (b"[]", "application/json", "a.json", 400),
        (b"[[1,2],[3]]", "application/json", "a.json", 400),
        (b'{"instances": [[1]], "inputs": [[1]]}', "application/json", "a.json", 400),
        (b'{"instances": "x"}', "application/json", "a.json", 400),
        (b"PK", "application/zip", "a.zip", 415),
    ],
)
def test_a_bad_file_gets_a_sentence(digits: Served, content: bytes, kind: str, name: str, status: int) -> None:
    reply = digits.predict(content, kind, name)
    assert reply.status_code == status, reply.text
    assert len(reply.json()["detail"]) > 10


def test_columns_that_do_not_match_are_named(table: Served, served: dict[str, Served]) -> None:
    reply = table.columns(**{"petal width (cm)": ("FP64", [1.0]), "colour": ("FP64", [1.0])})
    assert reply.status_code == 400
    assert "colour" in reply.json()["error"]
    assert "petal length (cm)" in reply.json()["error"]
    wrong = served["mixed"].columns(word=("BYTES", ["a", "b"]), times=("INT64", [1]))
    assert (wrong.status_code, "different lengths" in wrong.json()["error"]) == (400, True)
    loss = served["mixed"].columns(word=("BYTES", ["a"]), times=("FP64", [1.5]))
    assert (loss.status_code, "without loss" in loss.json()["error"]) == (400, True)


def test_a_picture_for_a_table_of_text_is_refused(served: dict[str, Served]) -> None:
    reply = served["mixed"].predict(png(scan(1)), "image/png")
    assert (reply.status_code, "picture" in reply.json()["detail"]) == (400, True)


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic b3Blbi1zZXNhbWU6", "Bearer", "token x y"])
def test_without_the_token_nothing_but_health_answers(digits: Served, header: str) -> None:
    headers = {"Authorization": header} if header else {}
    base = str(digits.client.base_url).rstrip("/")
    assert httpx.post(f"{base}/v2/models/digits/infer", headers=headers, json={}).status_code == 401
    assert httpx.get(f"{base}/metrics", headers=headers).status_code == 401
    assert httpx.get(f"{base}/nowhere", headers=headers).status_code == 401
    assert httpx.get(f"{base}/v2/health/live", headers=headers).status_code == 200


def test_paths_methods_and_sizes_that_are_wrong_are_named(digits: Served) -> None:
    assert digits.client.get("/v2/models/other").status_code == 404
    assert digits.client.get("/v2/models/digits/infer").status_code == 405
    assert digits.client.post("/v2/models/digits/versions/9/infer", json={}).status_code == 404
    with socket.create_connection(("127.0.0.1", digits.client.base_url.port or 0)) as raw:
        head = f"POST {quote(PREFIX)}/predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {10**10}\r\n\r\n"
        raw.sendall(head.encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_metrics_count_requests_and_rows(digits: Served) -> None:
    text = digits.client.get("/metrics").text
    assert 'ltai_requests_total{path="infer",status="200"}' in text
    assert "ltai_model_rows_total" in text


def test_an_instance_that_is_stopped_answers_what_arrives_meanwhile_and_leaves_with_0(tmp_path: Path) -> None:
    one = start(models.save_without_signature(tmp_path / "m"), "plain", tmp_path / "log")
    one.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    reply = one.infer([IRIS])  # on the connection kept open since the start
    assert (reply.status_code, reply.headers["connection"]) == (200, "close")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{one.client.base_url}v2")
    assert one.process.wait(10) == 0
    assert "stopped" in (tmp_path / "log").read_text().splitlines()[-1]


def test_a_model_that_is_not_there_ends_the_process_with_one_line(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "labextensions" / "ltai_lab"), "MODEL_URI": str(tmp_path / "none")}
    done = subprocess.run([sys.executable, "-m", "ltai_lab.serving"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "could not be loaded" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout + done.stderr
