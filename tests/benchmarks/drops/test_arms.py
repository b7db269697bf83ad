"""Runs both arms of each comparison at a tiny size, and arms that break."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import cluster
from benchmarks.drops import few_items, many_ids, peer, two_nodes
from benchmarks.drops.command import annotate
from benchmarks.drops.over_loop import LOOP, items_for, of_rates, rounds_over, told
from benchmarks.drops.work import Work, images, recordings, texts
from benchmarks.ratio import Ratio


def test_a_whole_job_is_compared_with_the_whole_of_a_loop() -> None:
    ratio = few_items.compare(items=2, rounds=1)

    assert ratio.direction == "at_most"
    assert ratio.rounds.ours == pytest.approx([ratio.details["ours_whole_s"]], abs=1e-3)
    assert 0 < float(ratio.details["ours_labelling_s"]) < float(ratio.details["ours_whole_s"])
    assert 0 < float(ratio.details["peer_labelling_s"]) < float(ratio.details["peer_whole_s"])
    assert "labels equal" in str(ratio.details["same"])


def test_ray_data_and_the_job_label_the_same(tmp_path: Path) -> None:
    pairs, found = rounds_over(recordings(tmp_path, 3), rounds=1, module="benchmarks.drops.plain_ray_data")

    assert found > 3
    assert pairs.rounds[0][1].items == 3
    assert min(of_rates(pairs).peer) > 0
    assert told(pairs).keys() >= {"ours_whole_s", "peer_whole_s"}


def test_a_job_over_many_ids_is_interrupted_after_its_first_outcome() -> None:
    ratio = many_ids.compare(ids=5_000, rounds=1)

    assert 0 < ratio.rounds.ours[0] < float(ratio.details["since_start_of_command_s"])
    assert 0 < int(ratio.details["stored_by_then"]) < 5_000


def two_nodes_tiny(quick: bool) -> Ratio:
    return two_nodes.compare(items_per_node=16, rounds=1)


def test_two_workers_label_on_two_nodes() -> None:
    ratio = cluster.apart(two_nodes_tiny, quick=True)

    by_node = [int(items) for items in str(ratio.details["items_by_node"]).split(", ")]
    assert len(by_node) == 2
    assert sum(by_node) == 32
    assert min(*ratio.rounds.ours, *ratio.rounds.peer) > 0


def test_the_loop_tells_how_many_items_make_so_many_seconds() -> None:
    items = items_for(0.1, recordings, probe=2)

    assert items >= 1


def test_a_job_that_ends_with_an_error_is_one_here_with_its_last_words(tmp_path: Path) -> None:
    work = recordings(tmp_path, 1)
    work.config.write_text("models: []")

    with pytest.raises(RuntimeError, match=r"prelabel annotate ended with 1.*(tasks|policies)"):
        annotate(work, "run")


def test_a_job_whose_items_fail_is_no_result(tmp_path: Path) -> None:
    work = recordings(tmp_path, 1)
    (work.drop / "broken.flac").write_bytes(b"no FLAC")

    with pytest.raises(RuntimeError, match="ended with 3"):
        annotate(work, "run")


def test_a_loop_that_breaks_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    work = recordings(tmp_path, 1)
    (work.drop / "broken.flac").write_bytes(b"no FLAC")

    with pytest.raises(RuntimeError, match=r"loop ended with 1: .*ItemError"):
        peer.label(LOOP, work, "run")


@pytest.mark.parametrize("lay_out", [recordings, images])
def test_no_two_files_of_a_drop_are_equal(lay_out: object, tmp_path: Path) -> None:
    assert callable(lay_out)
    work = lay_out(tmp_path, 70)

    assert isinstance(work, Work)
    assert len({file.read_bytes() for file in work.drop.iterdir()}) == work.items == 70


def test_no_two_texts_of_a_manifest_are_equal(tmp_path: Path) -> None:
    work = texts(tmp_path, 500)

    assert len(set(work.drop.read_text(encoding="utf-8").splitlines())) == work.items == 500
