"""What the panel in OHIF asks a real server on a real PACS, and the points of MONAI Label's own clients."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import requests

from fewsam.images.dicomseg import read_seg
from fewsam.images.labelwrite import write_native_masks
from fewsam.images.volume import load_volume
from helpers.pacs_site import NAMES, SHAPE, Site, framed, open_site

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as site:
        yield site


def test_the_panel_is_answered_on_the_stored_grid(site: Site) -> None:
    uid = site.uids["ct"]
    site.put("ct", site.drawn((6, 11)))
    head, voxels = framed(requests.post(f"{site.server.url}/fewsam/segment", params={"image": uid}, timeout=200))
    shown = site.image.geometry.to_slices(voxels.reshape(site.image.geometry.shape, order="F"))
    assert head["pasted"] == [6, 11] and not head["trained"]
    assert np.array_equal(shown[[6, 11]], site.drawn((6, 11))[[6, 11]])
    head, kept = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    assert np.array_equal(kept, voxels) and head["drawn"] == [6, 11]
    state = site.state("ct")["image"]
    assert state["slices"] == SHAPE[2] and len(state["uncertainty"]) == SHAPE[2] and state["uncertainty"][6] == 0

    body = {"image": uid, "slice": 8, "label": "liver", "include": [[5, 5]]}
    _, planes = framed(requests.post(f"{site.server.url}/fewsam/clicks", json=body, timeout=60))
    mask = planes.reshape(2, site.image.slices.shape[1], -1)[0]
    assert mask[5, 5] == 1
    for change, says in (({"slice": 99}, "slice 99"), ({"include": [[500, 5]]}, "outside"),
                         ({"label": "brain"}, "no labelled slice"), ({"include": []}, "no click")):  # fmt: skip
        refused = requests.post(f"{site.server.url}/fewsam/clicks", json={**body, **change}, timeout=60)
        assert refused.status_code in (400, 422) and says in refused.json()["detail"]

    offer = requests.post(f"{site.server.url}/fewsam/next", json={"client_id": "me"}, timeout=60).json()
    assert offer["id"] in site.uids.values() and offer["study"] and 0 <= offer["slice"] < SHAPE[2]


def test_the_panel_overwrites_nobody_and_keeps_what_overlaps(site: Site) -> None:
    """Slices of the last patient, which other tests leave alone below 8."""
    uid, image = site.uids["other"], load_volume(site.scans / "ct-patient02", axis="2")
    blank = np.zeros(image.slices.shape, np.uint8)

    def put(
        values: np.ndarray, drawn: dict[int, int], replace: tuple[int, ...] = (), empty: tuple[int, ...] = ()
    ) -> requests.Response:
        params = {"label_info": [{"name": name, "idx": n} for n, name in enumerate(NAMES, 1)], "client_id": "me"}
        return requests.put(
            f"{site.server.url}/fewsam/label",
            params={"image": uid},
            data={"params": json.dumps({**params, "drawn": drawn, "replace": replace, "empty": empty})},
            files={"label": ("label.bin", image.geometry.to_native(values).tobytes(order="F"))},
            timeout=60,
        )

    mine, others = blank.copy(), blank.copy()
    mine[2, 10:14, 10:14], others[2, 20:24, 20:24], others[3, 5:9, 5:9] = 1, 2, 1
    first = put(mine, {2: 0})
    assert first.status_code == 200, first.text
    first = first.json()
    assert first["added"] == [2]
    asked = put(others, {2: 0, 3: 0})
    assert asked.status_code == 409 and asked.json()["slices"] == [2] and "Slice 3" in asked.json()["detail"]
    assert site.state("other")["image"]["submissions"] == first["submissions"]  # nothing of it is stored
    assert put(others, {2: first["submissions"]["2"]}).json()["superseded"] == [2]  # it was drawn over that one
    _, voxels = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    now = image.geometry.to_slices(voxels.reshape(image.geometry.shape, order="F"))
    assert np.array_equal(now[2], others[2])  # the structure that it draws nowhere does not stay
    assert put(mine, {2: 0}, (2,)).json()["replaced"] == [2]

    assert put(blank, {3: 0}).status_code == 422  # painted, and taken back
    assert put(blank, {}).status_code == 422
    assert put(blank, {99: 0}).status_code == 400
    assert requests.put(f"{site.server.url}/fewsam/label", params={"image": "1.2.3"}, files={"label": b"x"},
                        timeout=60).status_code == 404  # fmt: skip
    seen = site.state("other")["image"]["submissions"]["2"]
    asked = put(blank, {2: seen})  # a label would go
    assert asked.status_code == 409 and asked.json()["empty"] == [2] and "Slice 3" in asked.json()["detail"]
    assert site.state("other")["image"]["submissions"]["2"] == seen
    assert put(blank, {2: seen}, empty=(2,)).json()["cleared"] == [2]  # erased by hand: nothing is there
    head, voxels = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    assert not voxels.any() and head["overlaps"] == []

    # Two structures that share pixels, which the viewer cannot show: both stay where nobody draws.
    both = {name: np.zeros(image.slices.shape, bool) for name in NAMES}
    both["liver"][4, 10:20, 10:20] = both["spleen"][4, 15:25, 15:25] = True
    write_native_masks(
        site.scans / "both.seg.nrrd",
        {name: image.geometry.to_native(mask) for name, mask in both.items()},
        image.geometry.affine,
    )
    with (site.scans / "both.seg.nrrd").open("rb") as file:
        requests.put(f"{site.server.url}/datastore/label", params={"image": uid}, files={"label": file}, timeout=60)
    (site.scans / "both.seg.nrrd").unlink()
    head, voxels = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    assert head["overlaps"] == [4]
    shown = image.geometry.to_slices(voxels.reshape(image.geometry.shape, order="F")).copy()
    shown[4, 0:3, 0:3] = 1
    shown[4, 16:18, 16:18] = 0  # a hole in both
    before = {str(data.SOPInstanceUID) for data in site.segs()}
    answer = put(shown, {4: head["submissions"]["4"]}).json()
    assert answer["superseded"] == [4] and answer["overlaps"] == [4]
    path = site.scans / "both.dcm"
    (new,) = (data for data in site.segs() if str(data.SOPInstanceUID) not in before)
    new.save_as(path, write_like_original=False)
    stored = read_seg(path, image.geometry)
    path.unlink()
    for name, mask in both.items():
        mask[4, 16:18, 16:18] = False
        if name == "liver":
            mask[4, 0:3, 0:3] = True
        assert np.array_equal(stored[name][4], mask[4]), name


def test_a_client_that_knows_one_structure_leaves_the_others(site: Site) -> None:
    """Its value is not the collection's either."""
    uid, geometry = site.uids["mr"], load_volume(site.scans / "mr-patient01", axis="2").geometry

    def put(values: np.ndarray, info: list[dict[str, Any]], seen: int, empty: Sequence[int] = ()) -> requests.Response:
        return requests.put(
            f"{site.server.url}/fewsam/label",
            params={"image": uid},
            data={"params": json.dumps({"label_info": info, "drawn": {5: seen}, "empty": list(empty)})},
            files={"label": ("label.bin", geometry.to_native(values).tobytes(order="F"))},
            timeout=60,
        )

    both = np.zeros(geometry.slices_shape, np.uint8)
    both[5, 5:15, 5:15], both[5, 5:15, 20:30] = 1, 2
    first = put(both, [{"name": name, "idx": value} for value, name in enumerate(NAMES, 1)], 0)
    assert first.status_code == 200, first.text
    spleens = np.zeros_like(both)
    spleens[5, 8:18, 20:30], spleens[5, 5:15, 12:18] = 7, 7
    submission = first.json()["submissions"]["5"]
    assert put(spleens, [{"name": "spleen", "idx": 7}], submission).json()["superseded"] == [5]
    _, voxels = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    wanted = np.where(spleens == 7, 2, np.where(both == 1, 1, 0))
    assert np.array_equal(geometry.to_slices(voxels.reshape(geometry.shape, order="F"))[5], wanted[5])
    nothing, livers = np.zeros_like(both), np.where(both == 1, 1, 0).astype(np.uint8)
    full = [{"name": name, "idx": value} for value, name in enumerate(NAMES, 1)]
    submission = put(livers, full, site.state("mr")["image"]["submissions"]["5"]).json()["submissions"]["5"]
    unasked = put(nothing, [{"name": "spleen", "idx": 7}], submission)  # its structure has no label there to lose
    assert unasked.status_code == 200, unasked.text
    _, voxels = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    assert np.array_equal(geometry.to_slices(voxels.reshape(geometry.shape, order="F"))[5], livers[5])
    asked = put(nothing, [{"name": "liver", "idx": 1}], unasked.json()["submissions"]["5"])
    assert asked.status_code == 409 and asked.json()["empty"] == [5]
    emptied = put(nothing, [{"name": "liver", "idx": 1}], unasked.json()["submissions"]["5"], [5])
    assert emptied.status_code == 200 and emptied.json()["cleared"] == [5], emptied.text
    nameless = put(spleens, [{"name": "spleen", "idx": 6}], 0)
    assert nameless.status_code == 422 and "values 7 have no name" in nameless.json()["detail"]
    assert put(spleens, [{"name": "spleen", "idx": 300}], 0).status_code == 400


def test_points_of_monai_labels_own_clients(site: Site) -> None:
    uid, url = site.uids["ct"], f"{site.server.url}/infer/points"
    site.put("ct", site.drawn((6, 11)))

    def ask(params: dict[str, Any]) -> requests.Response:
        params = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False, **params}
        return requests.post(
            url, params={"image": uid, "output": "all"}, data={"params": json.dumps(params)}, timeout=60
        )

    deepedit = ask({"liver": [[20, 15, 8]], "spleen": [], "background": [[2, 2, 8]]})
    deepgrow = ask({"foreground": [[20, 15, 8]], "background": [[2, 2, 8]], "label": "liver"})
    for answer in (deepedit, deepgrow):
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("multipart/form-data")
        payload = answer.content.split(b"NRRD", 1)[1].split(b"\n\n", 1)[1][: int(np.prod(SHAPE))]
        voxels = np.frombuffer(payload, np.uint8).reshape(SHAPE, order="F")
        assert voxels[20, 15, 8] == 1 and voxels[2, 2, 8] == 0
    assert "which structure" in ask({"foreground": [[20, 15, 8]]}).json()["detail"]
    assert "outside" in ask({"liver": [[200, 15, 8]]}).json()["detail"]
    assert "no point" in ask({}).json()["detail"]


def test_the_viewer_is_given_our_mode(site: Site) -> None:
    config = requests.get(f"{site.server.url}/ohif/app-config.js", timeout=30)
    assert config.headers["cache-control"] == "no-store"
    assert "routerBasename: '/ohif/'" in config.text and "Few-shot segmentation" in config.text
    assert "<!doctype html" in requests.get(f"{site.server.url}/ohif/", timeout=30).text.lower()
