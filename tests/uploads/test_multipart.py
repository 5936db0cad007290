"""The form around a file, read back by three parsers that are not ours.

Where a parser does something of its own with a name, the test says which: werkzeug turns `%22` back into a quote,
python-multipart and the standard library leave browsers' escapes as they are written; python-multipart takes what
looks like a Windows path for one and keeps its last part.
"""

import email
import io
from email.message import Message

import pytest
import python_multipart
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data

from polyglot_async._uploads.multipart import frame

BOUNDARY = "0123456789abcdef0123456789abcdef"
CONTENT = b"\r\n--0123456789abcdef\r\nnot the end\x00\xff\r\n"

names = st.text(min_size=1, max_size=40)


def listed(name):
    """Return a file name as most servers list it."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode("utf-8", "replace").decode()


def written(fields, name, content=CONTENT):
    made = frame(fields, file_name=name, content_type="audio/wav", boundary=BOUNDARY)
    return made.content_type, made.head + content + made.tail


def by_python_multipart(content_type, body):
    fields, files = [], []
    headers = {"Content-Type": content_type.encode(), "Content-Length": str(len(body)).encode()}
    python_multipart.parse_form(headers, io.BytesIO(body), fields.append, files.append)
    assert 1 == len(files)
    files[0].file_object.seek(0)
    values = [(field.field_name.decode(), (field.value or b"").decode()) for field in fields]
    read = (files[0].file_name.decode(), files[0].file_object.read())
    files[0].close()
    return values, *read


def by_werkzeug(content_type, body):
    environ = {
        "wsgi.input": io.BytesIO(body), "CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)),
        "REQUEST_METHOD": "POST",
    }  # fmt: skip
    _, form, files = parse_form_data(environ, silent=False)
    file = files["file"]
    read = (list(form.items(multi=True)), file.filename, file.read())
    file.close()
    return read


def by_the_standard_library(content_type, body):
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    values, found = [], None
    for part in message.get_payload():
        raw = dict(part.raw_items())["Content-Disposition"].encode("ascii", "surrogateescape").decode()
        disposition = Message()
        disposition["Content-Disposition"] = raw
        content = part.get_payload(decode=True)
        file_name = disposition.get_param("filename", header="content-disposition")
        name = disposition.get_param("name", header="content-disposition")
        if file_name is None:
            values.append((name, content.decode()))
        else:
            found = (file_name, content)
    return values, *found


PARSERS = (by_python_multipart, by_werkzeug, by_the_standard_library)
NAMES = {
    "plain": "talk.wav",
    "spaces": "a talk of ours.wav",
    "cyrillic": "Интервью №5.wav",
    "emoji": "🎙️ talk 👩‍👩‍👧.wav",
    "300 characters": "é" * 296 + ".wav",
    "semicolons": "a; filename=b; name=c.wav",
    "apostrophes": "it's 'this'.wav",
    "percent": "100%25 %41.wav",
    "rfc 5987 lookalike": "UTF-8''talk.wav",
    "backslash": "a\\b.wav",
    "backslash at the end": "talk\\",
    "two backslashes within": "a\\\\b",
    "equals and commas": "a=b,c.wav",
    "tab": "a\tb.wav",
    "html": "<b>&amp;</b>.wav",
}


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_name_is_read_as_it_is(parse, name):
    values, read_name, content = parse(*written([(name, "value"), ("model", "fast")], name))

    assert [(name, "value"), ("model", "fast")] == values
    assert (name, CONTENT) == (read_name, content)


@pytest.mark.parametrize("parse", PARSERS)
def test_quotes_and_line_ends_come_back_as_browsers_write_them(parse):
    """All three parsers give `%0D` and `%0A` as written; of `%22` werkzeug alone makes a quote again."""
    name = 'say "hi"\r\nX-Evil: 1\n.wav'
    quote = '"' if parse is by_werkzeug else "%22"
    expected = f"say {quote}hi{quote}%0D%0AX-Evil: 1%0A.wav"

    values, read_name, content = parse(*written([(name, "value")], name))

    assert [(expected, "value")] == values
    assert (expected, CONTENT) == (read_name, content)


@pytest.mark.parametrize("parse", PARSERS)
def test_a_lone_surrogate_becomes_a_question_mark(parse):
    """A file name that is not UTF-8 reaches Python so (PEP 383)."""
    values, read_name, _ = parse(*written([("a\udc80", "b\ud800")], "caf\udce9.wav"))

    assert ([("a?", "b?")], "caf?.wav") == (values, read_name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("talk.wav", "talk.wav"), ('say "hi".wav', "say %22hi%22.wav"), ("a\r\nb.wav", "a%0D%0Ab.wav"),
     ("caf\udce9.wav", "caf?.wav"), ("back\\slash.wav", "back\\slash.wav"), ("№ 5.wav", "№ 5.wav"), ("", "")],
)  # fmt: skip
def test_a_server_lists_a_name_readably(name, expected):
    assert expected == by_the_standard_library(*written([], name))[1]


@given(names)
@example('say "hi"\\".wav')
@example("caf\udce9\r\n.wav")
def test_parsers_agree_on_how_a_name_is_listed(name):
    assert listed(name) == by_the_standard_library(*written([], name))[1]
    if "\\" not in name:  # else it looks like a Windows path
        assert listed(name) == by_python_multipart(*written([], name))[1]


def test_python_multipart_takes_a_windows_path_for_one():
    assert "talk.wav" == by_python_multipart(*written([], "C:\\talks\\talk.wav"))[1]
    assert "talk.wav" == by_python_multipart(*written([], "\\\\host\\talk.wav"))[1]


@given(
    fields=st.lists(st.tuples(names, st.text(st.characters(exclude_characters="\r\n"), max_size=30)), max_size=4),
    name=names,
    content=st.binary(max_size=200),
)
@example(fields=[("a", "1"), ("a", "2")], name="x", content=b"--" + BOUNDARY.encode()[:-1])
@example(fields=[("a", "1\r\n2\n\r3")], name="x", content=b"\r\n")
@example(fields=[("\x85\u2028\x1c", "\x85\u2028\x0b")], name="\x0b\x0c\x1c\x1d\x85\u2028\u2029", content=b"")
def test_whatever_is_put_in_two_parsers_read_the_same_fields_and_the_same_file(fields, name, content):
    content_type, body = written(fields, name, content)

    werkzeug = by_werkzeug(content_type, body)
    starlette = by_python_multipart(content_type, body)

    sent = [value.encode("utf-8", "replace").decode() for _, value in fields]
    assert sorted(sent) == sorted(value for _, value in werkzeug[0])  # werkzeug groups by name
    assert sent == [value for _, value in starlette[0]]
    assert content == werkzeug[2] == starlette[2]


@given(file_name=st.text(), field=st.text(), value=st.text())
def test_no_name_adds_a_header(file_name, field, value):
    made = frame([(field, value)], file_name=file_name, content_type="audio/wav", boundary=BOUNDARY)

    assert 2 == made.head.count(b"\r\nContent-Disposition: form-data; ")
    own_value = value.encode("utf-8", "replace")
    head, _, rest = made.head.partition(b"\r\n\r\n")
    assert 2 == len(head.split(b"\r\n"))
    assert rest.startswith(own_value)
    assert 5 == len(rest.removeprefix(own_value).split(b"\r\n")) - 1


def test_the_bytes_are_those_of_rfc_7578():
    made = frame([("model", "fast")], file_name="a.wav", content_type="audio/wav", boundary="B")

    assert "multipart/form-data; boundary=B" == made.content_type
    assert (
        b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nfast\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    ) == made.head
    assert b"\r\n--B--\r\n" == made.tail
