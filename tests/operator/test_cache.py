"""The caches: whatever order the news comes in, nothing goes back in time and our own writes are seen."""

from hypothesis import given
from hypothesis import strategies as st

from videofleet_operator.cache import CHILD_KINDS, Caches, ObjectCache, fleet_by_label, fleet_by_name
from videofleet_operator.manifests.names import FLEET_LABEL

FLEET = ("studio", "tiny")


def pod(version, name="a", uid=None, fleet="tiny", **fields):
    meta = {"namespace": "studio", "name": name, "uid": uid or name, "resourceVersion": str(version)}
    return {"kind": "Pod", "metadata": meta | {"labels": {FLEET_LABEL: fleet}}, **fields}


def versions(cache, fleet=FLEET):
    return {found["metadata"]["uid"]: int(found["metadata"]["resourceVersion"]) for found in cache.of(fleet)}


def test_older_news_is_no_news():
    cache = ObjectCache(fleet_by_label)
    assert cache.put(pod(5))
    assert not cache.put(pod(4))
    assert not cache.put(pod(5)), "the event of our own write, whose answer we have had"
    assert versions(cache) == {"a": 5}


def test_a_list_takes_away_what_it_lacks_and_keeps_what_is_newer():
    cache = ObjectCache(fleet_by_label)
    for found in (pod(3, "gone"), pod(9, "made-after-the-list"), pod(8, "changed-after-the-list")):
        cache.put(found)
    cache.remove(pod(9, "deleted-after-the-list"))
    lost = cache.replace("studio", [pod(4, "changed-after-the-list"), pod(2, "deleted-after-the-list")], "7")
    assert [found["metadata"]["name"] for found in lost] == ["gone"]
    assert versions(cache) == {"made-after-the-list": 9, "changed-after-the-list": 8}
    assert cache.is_listed("studio")
    assert not cache.is_listed("ads")


def test_a_list_of_one_namespace_says_nothing_about_another():
    cache = ObjectCache(fleet_by_label)
    cache.put(pod(3))
    assert cache.replace("ads", [], "9") == []
    assert versions(cache) == {"a": 3}


def test_a_fleet_that_came_back_under_its_name_is_the_new_one():
    cache = ObjectCache(fleet_by_name)
    cache.put(pod(3, "tiny", uid="old"))
    cache.put(pod(6, "tiny", uid="new"))
    cache.remove(pod(5, "tiny", uid="old"))
    assert not cache.put(pod(4, "tiny", uid="old"))
    assert cache.uids() == [(FLEET, "new")]


def test_an_object_that_loses_our_labels_and_gets_them_back_is_there_again():
    cache = ObjectCache(fleet_by_label)
    cache.put(pod(3))
    cache.remove(pod(4))
    assert cache.of(FLEET) == []
    cache.put(pod(5, fleet="other"))
    cache.put(pod(6))
    assert versions(cache) == {"a": 6}
    assert cache.of(("studio", "other")) == []


def listed():
    caches = Caches()
    for kind in ("VideoGenerator", *CHILD_KINDS):
        assert not caches.is_current(FLEET)
        caches[kind].replace("studio", [], "1")
    return caches


def test_nothing_is_current_before_every_list_was_read():
    assert listed().is_current(FLEET)


def test_a_write_is_seen_at_once_and_after_a_scale_the_fleet_waits_for_its_deployment():
    caches = listed()
    deployment = pod(5) | {"kind": "Deployment"}
    caches.wrote("Deployment", FLEET, deployment)
    assert versions(caches["Deployment"]) == {"a": 5}
    assert caches.is_current(FLEET)
    caches.wrote("Deployment", FLEET, pod(8) | {"kind": "Scale"})
    assert not caches.is_current(FLEET)
    assert caches.is_current(("studio", "other"))
    caches["Deployment"].put(pod(7) | {"kind": "Deployment"})
    assert not caches.is_current(FLEET), "an event from before our write"
    caches["Deployment"].put(pod(8) | {"kind": "Deployment"})
    assert caches.is_current(FLEET)


def test_nobody_waits_for_what_was_deleted_or_listed_since():
    for end in (
        lambda cache: cache.remove(pod(9) | {"kind": "Deployment"}),
        lambda cache: cache.replace("studio", [pod(9) | {"kind": "Deployment"}], "9"),
        lambda cache: cache.replace("studio", [], "9"),
    ):
        caches = listed()
        caches.wrote("Deployment", FLEET, pod(5) | {"kind": "Deployment"})
        caches.wrote("Deployment", FLEET, pod(8) | {"kind": "Scale"})
        assert not caches.is_current(FLEET)
        end(caches["Deployment"])
        assert caches.is_current(FLEET)


def test_managed_fields_and_the_data_of_config_maps_are_not_kept():
    caches = listed()
    found = pod(5) | {"kind": "ConfigMap", "data": {"worker.json": "{}"}}
    found["metadata"]["managedFields"] = [{"manager": "videofleet"}]
    caches["ConfigMap"].put(found)
    (kept,) = caches["ConfigMap"].of(FLEET)
    assert "data" not in kept
    assert "managedFields" not in kept["metadata"]


@given(st.permutations(range(2, 8)), st.integers(1, 7))
def test_any_order_of_news_ends_with_the_latest(order, listed_at):
    cache = ObjectCache(fleet_by_label)
    for version in order:
        if version == listed_at:
            cache.replace("studio", [pod(version)], str(version))
        else:
            cache.put(pod(version))
    assert versions(cache) == {"a": 7}
