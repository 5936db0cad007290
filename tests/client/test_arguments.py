"""Wrong arguments are refused before anything is sent; one option in two spellings of Python is one option."""

import enum

import pytest

from polyglot_async import AsyncPolyglot, ConfigurationError, JournalError, Polyglot

pytestmark = pytest.mark.anyio


class Model(enum.Enum):
    FAST = "fast"


@pytest.mark.parametrize(
    "options",
    [{"model": True}, {"model": ["fast"]}, {"input_language": 0}, {"output_language": {"ru"}}, {"extra": 0},
     {"extra": ""}],
    ids=str,
)  # fmt: skip
async def test_options_that_are_no_text_are_refused_before_anything_is_sent(sandbox, client, options):
    for call in (client.transcriptions.upload, client.transcribe):
        with pytest.raises(TypeError, match=next(iter(options))):
            await call(b"audio", **options)
    with pytest.raises(TypeError, match=next(iter(options))):
        await client.transcriptions.from_url("https://host/a.mp3", **options)
    with pytest.raises(TypeError, match=next(iter(options))):
        client.batch([b"audio"], **options)
    assert [] == sandbox.ledger.entries()


async def test_an_enumeration_and_its_value_are_one_option_for_a_journal(sandbox, connect, tmp_path):
    for model in (Model.FAST, "fast"):
        async with connect() as client, client.batch([b"audio"], model=model, journal=tmp_path / "j.db") as outcomes:
            async for outcome in outcomes:
                assert outcome.ok
    assert [1] == list(sandbox.ledger.starts().values())


@pytest.mark.parametrize(("journal", "error"), [("", ValueError), (":memory:", JournalError)])
async def test_a_journal_that_is_no_file_is_refused(client, journal, error):
    with pytest.raises(error, match="journal"):
        async with client.batch([b"audio"], journal=journal):
            pass


@pytest.mark.parametrize("client_class", [AsyncPolyglot, Polyglot])
@pytest.mark.parametrize(
    "options", [{"on_quota": "wiat"}, {"runtime": True}, {"timeout": "5"}, {"max_retries": -1}], ids=str
)
def test_a_client_with_a_wrong_argument_is_a_configuration_error_and_leaves_nothing_open(client_class, options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        client_class("sk_test", **options)
