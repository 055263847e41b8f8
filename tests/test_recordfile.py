"""Files of records: private, shared by several recorders, and read back with all that is wrong in them."""

import json
import multiprocessing
import os
import stat
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tests.observed import hop
from wsprobe.codec import MAX_LINE, encode_line
from wsprobe.model import Observation
from wsprobe.observer import Unredacted
from wsprobe.recordfile import RecordsError, RecordWriter, fingerprint_key, read
from wsprobe.redact import shared_key

KEY_VARIABLE = "WSPROBE_FINGERPRINT_KEY"


def seen(number: int = 0, *, ended: float | None = 1.0, name: str = "edge") -> Observation:
    return replace(hop(name, connection=f"c{number}"), ended=ended)


def lines(*observations: Observation) -> bytes:
    return b"".join(map(encode_line, observations))


@pytest.fixture(autouse=True)
def _no_shared_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


# Writing.


def test_a_file_is_private_and_holds_a_line_for_each_observation(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    before = os.umask(0)
    try:
        writer = RecordWriter(file)
    finally:
        os.umask(before)
    written = [writer.write(Unredacted(seen(number))) for number in range(3)]
    writer.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == lines(*written)
    assert read([file]).observations == tuple(written)


def test_what_is_written_is_redacted(tmp_path: Path) -> None:
    request = seen().request
    assert request is not None
    secret = replace(seen(), request=replace(request, headers=(*request.headers, ("X-Api-Key", "Zq7xP2mN9vKt4LbR"))))
    writer = RecordWriter(tmp_path / "edge.jsonl")
    returned = writer.write(Unredacted(secret))
    writer.close()
    assert b"Zq7xP2mN9vKt4LbR" not in (tmp_path / "edge.jsonl").read_bytes()
    assert returned.redactions


def test_a_file_that_is_there_is_continued(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    for number in range(3):
        writer = RecordWriter(file)
        writer.write(Unredacted(seen(number)))
        writer.close()
    assert [one.connection for one in read([file]).observations] == ["c0", "c1", "c2"]


def test_a_torn_line_of_a_recorder_that_was_killed_swallows_no_other(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(lines(seen(0)) + lines(seen(1))[:50])
    writer = RecordWriter(file)
    writer.write(Unredacted(seen(2)))
    writer.write(Unredacted(seen(3)))
    writer.close()
    records = read([file])
    assert [one.connection for one in records.observations] == ["c0", "c2", "c3"]
    assert records.problems == (f"{file}: 1 not read (line 2: not JSON), 3 good lines used",)


def test_a_line_that_was_cut_short_is_an_error_and_swallows_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "edge.jsonl"
    writer = RecordWriter(file)
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda number, data: write(number, data[:20]))
        with pytest.raises(OSError, match="No space left"):
            writer.write(Unredacted(seen(0)))
    writer.write(Unredacted(seen(1)))
    writer.close()
    records = read([file])
    assert [one.connection for one in records.observations] == ["c1"]
    assert len(records.problems) == 1


def _record(path: str, name: str, start: Barrier, number: int) -> None:
    writer = RecordWriter(path)
    start.wait(30)
    for count in range(number):
        writer.write(Unredacted(seen(count, name=name)))
    writer.close()


def test_several_recorders_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    context = multiprocessing.get_context("spawn")
    names = ("edge", "app", "mid")
    start = context.Barrier(len(names))
    recorders = [context.Process(target=_record, args=(str(file), name, start, 100)) for name in names]
    for recorder in recorders:
        recorder.start()
    for recorder in recorders:
        recorder.join(60)
        assert recorder.exitcode == 0
    records = read([file])
    assert records.problems == ()
    assert sorted((one.name, int(one.connection[1:])) for one in records.observations) == sorted(
        (name, number) for name in names for number in range(100)
    )


def test_both_lines_of_an_exchange_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    writer = RecordWriter(file)
    first, second = seen(ended=None), seen()
    writer.write(Unredacted(first))
    writer.write(Unredacted(second))
    writer.close()
    one, other = file.read_text().splitlines()
    assert json.loads(one) == json.loads(encode_line(first))
    assert json.loads(other) == json.loads(encode_line(second))
    assert read([file]).observations == (second,)


@pytest.mark.parametrize("kind", ["folder", "missing"])
def test_a_file_that_cannot_be_opened_is_an_error(kind: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="edge"):
        RecordWriter(tmp_path / "missing" / "edge.jsonl" if kind == "missing" else _folder(tmp_path / "edge"))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_the_shared_key_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fingerprint_key() is None
    monkeypatch.setenv(KEY_VARIABLE, "")
    assert fingerprint_key() is None
    monkeypatch.setenv(KEY_VARIABLE, "a key that recorders share")
    assert fingerprint_key() == shared_key("a key that recorders share")
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(ValueError, match=KEY_VARIABLE):
        RecordWriter(tmp_path / "edge.jsonl")


# Reading.


def test_the_last_line_of_an_exchange_counts(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(lines(seen(1, ended=None), seen(2, ended=None), seen(1), seen(3, ended=None), seen(3, ended=None)))
    found = {one.connection: one.ended for one in read([file]).observations}
    assert found == {"c1": 1.0, "c2": None, "c3": None}


def test_a_whole_observation_is_not_replaced_by_an_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(lines(seen(1), seen(1, ended=None)))
    assert read([file]).observations == (seen(1),)


GOOD = lines(seen(0))
NEWER = GOOD.replace(b"wsprobe.hop/1", b"wsprobe.hop/2")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param(GOOD[: len(GOOD) // 2] + b"\n", "line 2: not JSON", id="torn"),
        pytest.param(b"127.0.0.1 - - [02/Mar/2026] GET /\n", "line 2: not JSON", id="an access log"),
        pytest.param(b'{"a": 1}\n', "line 2: no schema is named", id="other JSON"),
        pytest.param(b"[]\n", "line 2: not a JSON object", id="a list"),
        pytest.param(
            NEWER,
            "line 2: schema 'wsprobe.hop/2' is a newer version than this wsprobe reads: update wsprobe",
            id="of a newer version",
        ),
        pytest.param(b'{"schema": "other/1"}\n', "line 2: schema 'other/1' is not a schema of wsprobe", id="foreign"),
        pytest.param(b'{"schema": "wsprobe.trace/1"}\n', "line 2: id is missing", id="another document"),
        pytest.param(
            b'{"schema": "wsprobe.trace/1", "id": null, "hops": []}\n',
            "line 2: a document, not a line of a records file",
            id="a trace",
        ),
        pytest.param(b"\x00\xff\xfe\x80\n", "line 2: not JSON", id="binary"),
        pytest.param(b"x" * (MAX_LINE + 1) + b"\n", f"line 2: longer than {MAX_LINE} octets", id="too long"),
        pytest.param(b"x" * (3 * MAX_LINE) + b"\n", f"line 2: longer than {MAX_LINE} octets", id="far too long"),
        pytest.param(b"[" * 100_000 + b"\n", "line 2: not JSON", id="nested too deeply"),
    ],
)
def test_a_bad_line_is_counted_and_named_and_the_good_ones_are_used(bad: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(lines(seen(1)) + bad + lines(seen(2)))
    records = read([file])
    assert [one.connection for one in records.observations] == ["c1", "c2"]
    assert records.problems == (f"{file}: 1 not read ({said}), 2 good lines used",)


def test_a_last_line_without_an_end_is_read_if_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(lines(seen(1), seen(2)).rstrip(b"\n"))
    assert len(read([file]).observations) == 2


def test_of_many_bad_lines_three_are_named(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(b"x\n" * 5 + lines(seen(1)))
    assert read([file]).problems == (
        f"{file}: 5 not read (line 1: not JSON; line 2: not JSON; line 3: not JSON and 2 more), 1 good line used",
    )


def test_empty_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(b"\n  \n" + lines(seen(1)) + b"\n\r\n")
    assert (len(read([file]).observations), read([file]).problems) == (1, ())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"nonsense\n", "line 1: not JSON", id="a text"),
        pytest.param(bytes(range(256)) * 10, "line 1: not JSON", id="binary"),
        pytest.param(NEWER, "line 1: schema 'wsprobe.hop/2' is a newer version", id="of a newer version"),
    ],
)
def test_a_file_without_one_good_line_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(content)
    with pytest.raises(RecordsError) as refused:
        read([file])
    assert str(refused.value).startswith(f"{file}: no line is a record of wsprobe; {said}")
    assert "\n" not in str(refused.value)


def test_an_empty_file_is_of_a_recorder_that_saw_nothing(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.touch()
    assert read([file]).observations == ()
    assert read([file]).problems == ()


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        read([tmp_path / "missing.jsonl"])


def test_of_a_folder_the_records_are_read_and_its_bad_files_named(tmp_path: Path) -> None:
    (tmp_path / "edge.jsonl").write_bytes(lines(seen(1)))
    (tmp_path / "app.jsonl").write_bytes(lines(seen(1, name="app")))
    (tmp_path / "bad.jsonl").write_bytes(b"nonsense\n")
    (tmp_path / "notes.txt").write_bytes(b"nonsense\n")
    records = read([tmp_path])
    assert sorted(one.name for one in records.observations) == ["app", "edge"]
    assert records.problems == (f"{tmp_path / 'bad.jsonl'}: 1 not read (line 1: not JSON), 0 good lines used",)


def test_a_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "edge.jsonl"
    file.write_bytes(lines(seen(1)))
    assert len(read([file, tmp_path]).observations) == 1


def test_the_same_connection_at_another_hop_is_another_observation(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    file.write_bytes(lines(seen(1), seen(1, name="app"), replace(seen(1), exchange=1), replace(seen(1), instance="b")))
    assert len(read([file]).observations) == 4
