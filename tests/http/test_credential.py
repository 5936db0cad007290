"""The credential: asked for when needed, once, and shown nowhere."""

import copy
import errno
import functools
import pickle
import pprint
import reprlib
import socket
import threading
import traceback

import anyio
import pytest
import rich.pretty
import rich.traceback
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import AsyncPolyglot, ConfigurationError, PolyglotError
from polyglot_async._http.credential import Credential, Secret

SECRET = "sk_0123456789abcdef"


class Asked:
    """A source that gives another value each time."""

    def __init__(self, *values):
        self.values = list(values)
        self.times = 0
        self.threads = set()

    def __call__(self):
        self.times += 1
        self.threads.add(threading.current_thread())
        return self.values.pop(0)


def sources(*values):
    asked = Asked(*values)

    async def asynchronous():
        await anyio.lowlevel.checkpoint()
        return asked()

    class Callable:
        async def __call__(self):
            return await asynchronous()

    return asked, {
        "sync": asked,
        "async": asynchronous,
        "lambda": lambda: asynchronous(),  # noqa: PLW0108 - what people write
        "partial": functools.partial(asynchronous),
        "object": Callable(),
    }


KINDS = ["sync", "async", "lambda", "partial", "object"]


async def test_a_string_is_given_as_it_is_and_cannot_be_renewed():
    credential = Credential(f"  {SECRET}\n")

    assert [SECRET, SECRET] == [await credential.get(), await credential.get(refused=SECRET)]
    assert False is credential.renewable


@pytest.mark.parametrize("kind", KINDS)
async def test_a_callable_of_any_kind_is_asked_when_needed_and_then_no_more(kind):
    asked, by_kind = sources("one", "two")
    credential = Credential(by_kind[kind])

    assert 0 == asked.times
    assert ["one", "one"] == [await credential.get(), await credential.get(refused="other")]
    assert 1 == asked.times
    assert True is credential.renewable


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_asked_again_when_the_service_refused_what_it_gave(kind):
    _, by_kind = sources("one", "two")
    credential = Credential(by_kind[kind])
    await credential.get()

    assert ["two", "two"] == [await credential.get(refused="one"), await credential.get(refused="one")]


@pytest.mark.parametrize("kind", KINDS)
async def test_many_that_are_refused_at_once_ask_once(kind):
    asked, by_kind = sources("one", "two", "three")
    credential = Credential(by_kind[kind])
    await credential.get()
    found = []

    async def refused():
        found.append(await credential.get(refused="one"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(refused)

    assert (["two"] * 20, 2) == (found, asked.times)


async def test_a_sync_callable_may_block_for_it_runs_in_a_thread():
    asked = Asked("one")

    await Credential(asked).get()

    assert threading.current_thread() not in asked.threads


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(errno.ENOENT, SECRET, "/run/secrets/key"), "FileNotFoundError: No such file or directory;"),
        (OSError(f"cannot read {SECRET}"), "OSError;"),
        (LookupError(f"key ring is locked: {SECRET}"), "LookupError;"),
        (ValueError(SECRET), "ValueError;"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_a_callable_raises_is_a_configuration_error_and_the_next_call_asks_anew(error, reason, is_async):
    """Not trouble with the media, as an OSError else is; its own words, which may be the secret, are in the cause."""
    locked = True

    def key_ring():
        nonlocal locked
        if locked:
            locked = False
            raise error
        return "two"

    async def remote_key_ring():
        return key_ring()

    credential = Credential(remote_key_ring if is_async else key_ring)

    with pytest.raises(ConfigurationError, match=f"passed as api_key raised {reason}") as caught:
        await credential.get()
    assert SECRET not in str(caught.value)
    assert error is caught.value.__cause__
    assert "two" == await credential.get()


async def test_an_error_of_ours_that_a_callable_raises_comes_out_as_it_is():
    def key_ring():
        raise error

    error = ConfigurationError("set POLYGLOT_API_KEY")
    with pytest.raises(ConfigurationError) as caught:
        await Credential(key_ring).get()
    assert error is caught.value


async def test_cancelling_one_who_asks_does_not_lock_the_others_out():
    first = True

    async def slow():
        nonlocal first
        if first:
            first = False
            await anyio.sleep_forever()
        return "one"

    credential = Credential(slow)
    with anyio.move_on_after(0.01):
        await credential.get()

    with anyio.fail_after(5):
        assert "one" == await credential.get()


@pytest.mark.parametrize(
    "value", ["", "  ", "\n", "two words", "ключ", "a\nb", "a\x00b", "a\x7f", "“sk_1”", None, 5, b"sk"]
)
async def test_what_is_no_credential_is_a_configuration_error(value):
    with pytest.raises(ConfigurationError):
        Credential(value)
    with pytest.raises(ConfigurationError):
        await Credential(lambda: value).get()


@pytest.mark.parametrize("value", [f"{SECRET} x", f"Bearer {SECRET}", f"{SECRET}é", SECRET.encode(), [SECRET]])
async def test_no_message_and_no_repr_shows_the_value(value):
    with pytest.raises(ConfigurationError) as caught:
        Credential(value)

    assert SECRET not in str(caught.value)
    credential = Credential(lambda: SECRET)
    await credential.get()
    assert "Credential(***)" == repr(credential) == str(credential) == repr(Credential(SECRET))


@given(st.text())
def test_any_string_is_refused_or_can_be_sent_in_a_header(text):
    try:
        credential = Credential(text)
    except ConfigurationError:
        return

    assert credential._value
    assert credential._value.isascii()
    assert not set(credential._value) & set(" \t\r\n\x00")


def test_one_credential_may_serve_one_event_loop_after_another():
    async def refused(credential):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(credential.get)

    for backend in ("asyncio", "trio", "asyncio"):
        credential = Credential(Asked(*"abcdef"))
        anyio.run(refused, credential, backend=backend)
        anyio.run(functools.partial(credential.get, refused="a"), backend=backend)


# -- what shows local variables


def shown(error):
    """Return an error with its traceback and the local variables of each frame, as several tools show them."""
    plain = traceback.TracebackException.from_exception(error, capture_locals=True)
    trace = rich.traceback.Traceback.extract(type(error), error, error.__traceback__, show_locals=True)
    frames = [frame for stack in trace.stacks for frame in stack.frames]
    return "".join([*plain.format(), *(f"{name} = {node}" for frame in frames for name, node in frame.locals.items())])


LONG_SECRET = "eyJ" + "0123456789abcdef" * 20


@pytest.mark.parametrize("secret", [SECRET, LONG_SECRET])
def test_a_secret_is_a_string_that_no_repr_shows(secret):
    value = Secret(secret)

    assert (secret, len(secret), {secret: 1}) == (value, len(value), {value: 1})
    assert f"Bearer {secret}" == f"Bearer {value}" == Credential.header(value)
    for tool in (repr, pprint.pformat, reprlib.repr, rich.pretty.pretty_repr, "{!r}".format, "%r".__mod__, ascii):
        for held in (value, [value], {"key": value}, Credential.header(value), value[:80]):
            assert secret[:20] not in tool(held)
    assert secret[:20] not in rich.pretty.pretty_repr(value, max_string=40)
    assert value == pickle.loads(pickle.dumps(value)) == copy.deepcopy(value)


async def failure(call):
    """Return the error of a call; its traceback begins here, where nothing holds the credential."""
    try:
        await call()
    except PolyglotError as error:
        return error


@pytest.mark.parametrize("secret", [SECRET, LONG_SECRET])
@pytest.mark.parametrize("kind", [None, *KINDS])
async def test_a_call_that_fails_shows_the_credential_in_no_frame(secret, kind):
    source = secret if kind is None else sources(*[secret] * 3)[1][kind]
    async with AsyncPolyglot(source, base_url=f"http://127.0.0.1:{free_port()}/api/v1", max_retries=0) as client:
        for call in (client.limits, functools.partial(client.transcriptions.upload, b"audio")):
            text = shown(await failure(call))
            assert "ConnectError" in text
            assert "_exchange" in text
            assert secret[:20] not in text


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("secret", [f"{SECRET} two words", f"{LONG_SECRET}ключ"])
@pytest.mark.parametrize("kind", [None, *KINDS])
async def test_a_refused_credential_is_shown_in_no_frame(secret, kind):
    async def use():
        await Credential(secret if kind is None else sources(secret)[1][kind]).get()

    with pytest.raises(ConfigurationError) as caught:
        await use()
    frames = [frame for frame in walk(caught.value.__traceback__) if "_http" in frame.f_code.co_filename]
    assert frames[1:]
    assert secret[:20] not in repr([frame.f_locals for frame in frames])


def walk(traceback_):
    while traceback_ is not None:
        yield traceback_.tb_frame
        traceback_ = traceback_.tb_next
