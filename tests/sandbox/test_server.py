"""The sandbox as a thing that is started, stopped, restarted, run as a program and used as a fixture."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from polyglot_async.sandbox import Sandbox, ScriptedEngine, main

ROOT = Path(__file__).parents[2]


def test_it_starts_and_ends_fast_even_with_open_connections(polyglot_sandbox_factory, connect):
    sandbox = Sandbox(engine="scripted", faults=["stall times=forever"])
    started = time.monotonic()
    sandbox.start()
    assert time.monotonic() - started < 0.5
    address = urlsplit(sandbox.url)
    idle = socket.create_connection((address.hostname, address.port))
    stalled = socket.create_connection((address.hostname, address.port))
    stalled.sendall(f"GET {address.path}/transcriptions HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert stalled.recv(10)
    closing = time.monotonic()
    sandbox.close()
    assert time.monotonic() - closing < 0.5
    assert not sandbox.folder.exists()
    sandbox.close()
    idle.close()
    stalled.close()


def test_closing_under_an_upload_is_silent_and_leaves_no_file(tmp_path, caplog, until):
    """The client sees its connection break; nobody logs an error."""
    sandbox = Sandbox(engine="scripted", folder=tmp_path).start()
    address = urlsplit(sandbox.url)
    client = socket.create_connection((address.hostname, address.port))
    client.sendall(
        f"POST {address.path}/transcriptions/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
        f"Authorization: Bearer {sandbox.api_key}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'.encode()
    )
    until(lambda: list((tmp_path / "incoming").iterdir()))
    sandbox.close()
    assert list((tmp_path / "incoming").iterdir()) == []
    assert sandbox.ledger.entries()[0].complete is False
    assert caplog.records == []
    client.close()


def test_it_works_in_an_asynchronous_program():
    async def use() -> int:
        async with Sandbox(engine="scripted") as sandbox, httpx.AsyncClient() as client:
            return (await client.get(f"{sandbox.url}/transcriptions")).status_code

    assert asyncio.run(use()) == 401


def test_two_starts_and_a_taken_port_are_refused(sandbox):
    with pytest.raises(RuntimeError, match="running already"):
        sandbox.start()
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=urlsplit(sandbox.url).port).start()


def test_a_folder_has_one_owner(sandbox):
    with pytest.raises(RuntimeError, match="another sandbox"):
        Sandbox(folder=sandbox.folder).start()


def test_tasks_keys_and_counters_survive_a_restart(tmp_path, connect):
    """Unfinished tasks run anew; a half upload that a dead server left is swept away."""
    slow = ScriptedEngine(seconds=lambda name, _: 60 if name == "slow.mp3" else 0)
    with Sandbox(folder=tmp_path, engine=slow) as sandbox:
        api = connect(sandbox)
        done, running = api.start(b"one", "fast.mp3"), api.start(b"two", "slow.mp3")
        api.finished(done)
        key, secret, usage = sandbox.api_key, sandbox.webhook_secret, sandbox.state()["usage"]
        token = sandbox.session_token()
    (tmp_path / "incoming" / "half").write_bytes(b"x")
    with Sandbox(folder=tmp_path, engine="scripted") as sandbox:
        assert (sandbox.api_key, sandbox.webhook_secret, sandbox.state()["usage"]) == (key, secret, usage)
        api = connect(sandbox, token)
        assert api.get(f"/transcriptions/{done}/result").status_code == 200
        assert api.finished(running)["status"] == "completed"
        assert api.get(f"/transcriptions/{running}/source").content == b"two"
        assert list((tmp_path / "incoming").iterdir()) == []


def test_the_same_object_can_be_started_again(tmp_path):
    sandbox = Sandbox(folder=tmp_path, engine="scripted")
    keys = set()
    for _ in range(2):
        with sandbox:
            keys.add(sandbox.api_key)
            assert httpx.get(f"{sandbox.url}/transcriptions").status_code == 401
    assert len(keys) == 1


def test_the_ledger_is_also_a_file(sandbox, api, until):
    api.get("/transcriptions")
    line = until((sandbox.folder / "ledger.jsonl").read_text)
    entry = json.loads(line)
    assert (entry["call"], entry["status"], entry["complete"]) == ("list", 200, True)
    assert sandbox.api_key not in line


def test_thousands_of_scripted_tasks_are_timers(polyglot_sandbox_factory, connect):
    """No thread for each, and the server stays quick while they wait."""
    import threading

    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(seconds=3600))
    api = connect(sandbox)
    before = threading.active_count()
    for _ in range(1000):
        api.start()
    assert threading.active_count() <= before + 1
    assert api.get("/transcriptions").json()["total"] == 1000


def test_small_calls_reach_several_hundreds_per_second(sandbox, api):
    task_id = api.start()
    started = time.monotonic()
    for _ in range(200):
        api.get(f"/transcriptions/{task_id}")
    assert 200 / (time.monotonic() - started) > 200


@pytest.fixture
def program(tmp_path):
    """Runs it as its own process; gives back the process and what it printed."""
    running = []

    def start(*arguments: str):
        command = [sys.executable, "-m", "polyglot_async.sandbox", "--port", "0", "--engine", "scripted", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        printed = [process.stdout.readline().strip().partition("=")[::2] for _ in range(3)]
        return process, dict(printed)

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_the_program_prints_what_a_client_needs_and_ends_cleanly(program, by):
    process, printed = program("--fault", "status status=503 times=1")
    headers = {"Authorization": f"Bearer {printed['POLYGLOT_API_KEY']}"}
    url = f"{printed['POLYGLOT_BASE_URL']}/transcriptions"
    assert [httpx.get(url, headers=headers).status_code for _ in range(2)] == [503, 200]
    process.send_signal(by)
    assert process.wait(5) == 0
    assert process.stderr.read() == ""


def test_a_killed_program_loses_no_task(program, tmp_path, connect):
    process, printed = program("--folder", str(tmp_path / "state"))
    with httpx.Client(headers={"Authorization": f"Bearer {printed['POLYGLOT_API_KEY']}"}) as client:
        url = f"{printed['POLYGLOT_BASE_URL']}/transcriptions"
        task_id = client.post(f"{url}/upload", files={"file": b"x"}).json()["task_id"]
        process.kill()
        process.wait()
    with Sandbox(folder=tmp_path / "state", engine="scripted") as sandbox:
        assert connect(sandbox, printed["POLYGLOT_API_KEY"]).finished(task_id)["status"] == "completed"


def test_workers_end_with_a_killed_server(tmp_path, recording, until):
    """Standard input ends, so they do, even in the middle of a job."""
    code = (
        "import sys, time, httpx\nfrom polyglot_async.sandbox import Sandbox\n"
        "s = Sandbox(plan='unlimited').start()\n"
        "h = {'Authorization': 'Bearer ' + s.api_key}\n"
        f"d = open({str(recording('0890'))!r}, 'rb').read()\n"
        "t = httpx.post(s.url + '/transcriptions/upload', headers=h, files={'file': d}).json()['task_id']\n"
        "while not s.state()['workers']: time.sleep(0.01)\n"
        "print(s.state()['workers'][0], flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()

    def gone() -> bool:
        try:
            return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            return True

    if Path("/proc").is_dir():
        until(gone)
    else:
        with pytest.raises(ProcessLookupError):
            until(lambda: os.kill(pid, 0))


@pytest.mark.parametrize("wrong", [["--plan", "gold"], ["--fault", "odd"], ["--engine", "odd"]])
def test_a_wrong_option_ends_with_2(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_taken_port_ends_with_1(sandbox, capsys):
    assert main(["--port", str(urlsplit(sandbox.url).port), "--engine", "scripted"]) == 1
    assert capsys.readouterr().err.startswith("polyglot sandbox: ")


def test_the_plugin_is_light():
    """It is loaded in every run of pytest of whoever has the package: no server comes with it."""
    code = (
        "import sys, polyglot_async.testing; print(sorted({'starlette', 'uvicorn', 'av', 'httpx'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_plugin_says_what_to_install(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(polyglot_sandbox): pass\n")
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['starlette'] = None\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "polyglot_async.testing", "-c", os.devnull, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert "pip install 'polyglot_async[sandbox]'" in answer.stdout


def test_the_sandbox_shares_nothing_with_the_client():
    """So that one checks the other: no module of the package beside its own is loaded by it."""
    code = (
        "import sys, types\n"
        "package = types.ModuleType('polyglot_async'); package.__path__ = ['polyglot_async']\n"
        "sys.modules['polyglot_async'] = package\nimport polyglot_async.sandbox\n"
        "print(*{name.split('.')[1] for name in sys.modules if name.startswith('polyglot_async.')})\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["sandbox"]
