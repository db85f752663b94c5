"""Watches: order, selectors, bookmarks, streaming lists, resuming, tables."""

import asyncio


def name_of(event):
    return event["object"]["metadata"]["name"]


def version_of(event):
    return int(event["object"]["metadata"]["resourceVersion"])


async def test_every_change_comes_once_and_in_order(given, when):
    start = await when.lists("configmaps")
    await given.config_map("a")
    async with when.watches("configmaps", resourceVersion=start.version) as event:
        added = await event()
        while name_of(added) != "a":  # a namespace gets objects of its own
            added = await event()
        for value in "123":
            await when.patches("configmaps/a", {"data": {"x": value}})
        await when.deletes("configmaps/a")
        changes = [await event() for _ in range(4)]
    seen = [added, *changes]
    assert [each["type"] for each in seen] == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]
    assert [each["object"]["data"]["x"] for each in changes[:3]] == ["1", "2", "3"]
    assert changes[3]["object"]["data"] == {"x": "3"}, "the last state"
    versions = [version_of(each) for each in seen]
    assert versions == sorted(set(versions)), "a deletion has a version of its own"


async def test_events_of_many_writers_reach_every_watcher_in_one_order(given, when):
    start = await when.lists("widgets")

    async def seen():
        async with when.watches("widgets", resourceVersion=start.version) as event:
            return [name_of(await event()) for _ in range(20)]

    watchers = [asyncio.create_task(seen()) for _ in range(3)]
    await asyncio.gather(*(given.widget(f"w{number}") for number in range(20)))
    first, *others = await asyncio.gather(*watchers)
    assert sorted(first) == sorted(f"w{number}" for number in range(20))
    assert others == [first, first]


async def test_without_a_version_it_begins_with_what_there_is(given, when):
    await given.widget("a")
    async with when.watches("widgets") as event:
        first = await event()
    assert (first["type"], name_of(first)) == ("ADDED", "a")


async def test_resuming_misses_and_repeats_nothing(given, when):
    first = await given.widget("a")
    await given.widget("b")
    async with when.watches("widgets", resourceVersion=first.version) as event:
        seen = await event()
        assert name_of(seen) == "b"
    await given.widget("c")
    await when.deletes("widgets/a")
    async with when.watches("widgets", resourceVersion=version_of(seen)) as event:
        again = [await event() for _ in range(2)]
    assert [(each["type"], name_of(each)) for each in again] == [("ADDED", "c"), ("DELETED", "a")]


async def test_a_version_that_is_long_gone_is_expired_and_a_list_begins_anew(given, when):
    async with when.watches("configmaps", resourceVersion=1) as event:
        refused = await event()
    assert (refused["type"], refused["object"]["code"], refused["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert refused["object"]["message"].startswith("too old resource version: 1")
    start = await when.lists("configmaps")
    await given.config_map("a")
    async with when.watches("configmaps", resourceVersion=start.version) as event:
        while name_of(await event()) != "a":
            continue


async def test_entering_and_leaving_a_selector(given, when):
    await given.widget("a")
    start = await when.lists("widgets")
    async with when.watches("widgets", labelSelector="on=yes", resourceVersion=start.version) as event:
        await when.patches("widgets/a", {"metadata": {"labels": {"on": "yes"}}})
        entered = await event()
        await when.patches("widgets/a", {"metadata": {"labels": {"on": "no"}}})
        left = await event()
    assert (entered["type"], left["type"]) == ("ADDED", "DELETED")
    assert left["object"]["metadata"]["labels"] == {"on": "yes"}, "as it was when it still matched"
    assert version_of(left) > version_of(entered), "with the version of the change"


async def test_one_object_is_watched_by_its_name(given, when):
    start = await when.lists("widgets")
    async with when.watches("widgets", fieldSelector="metadata.name=b", resourceVersion=start.version) as event:
        await given.widget("a")
        await given.widget("b")
        assert name_of(await event()) == "b"


async def test_a_namespace_hides_the_others(given, when):
    start = await when.lists("*/widgets")
    await given.made("namespaces", f"{when.namespace}-other", {})
    other = type(when)(when.http, f"{when.namespace}-other")
    await other.creates("widgets", {"metadata": {"name": "there"}, "spec": {"model": "m"}})
    await given.widget("here")
    async with when.watches("widgets", resourceVersion=start.version) as event:
        assert name_of(await event()) == "here"
    async with when.watches("*/widgets", resourceVersion=start.version) as event:
        assert [name_of(await event()) for _ in range(2)] == ["there", "here"]


async def test_streaming_lists_end_with_a_bookmark(given, when):
    await given.widget("a")
    await given.widget("b")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with when.watches("widgets", **query) as event:
        initial = [await event() for _ in range(3)]
        await given.widget("c")
        after = await event()
    assert [(each["type"], name_of(each)) for each in initial[:2]] == [("ADDED", "a"), ("ADDED", "b")]
    mark = initial[2]
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["object"]["kind"] == "Widget"
    assert version_of(initial[1]) <= version_of(mark) < version_of(after)
    assert name_of(after) == "c"


async def test_initial_events_need_their_match(when):
    refused = await when.lists("widgets", watch="true", sendInitialEvents="true", timeoutSeconds=1)
    assert refused.refusal[:2] == (422, "Invalid")
    assert "resourceVersionMatch" in refused["message"]


async def test_bookmarks_come_before_the_time_is_up(given, when):
    await given.widget("a")
    start = await when.lists("widgets")
    query = {"allowWatchBookmarks": "true", "timeoutSeconds": 3, "resourceVersion": start.version}
    async with when.watches("widgets", **query) as event:
        mark = await event()
    assert mark["type"] == "BOOKMARK"
    assert version_of(mark) >= start.version
    assert set(mark["object"]) == {"apiVersion", "kind", "metadata", "spec"} or "spec" not in mark["object"]


async def test_a_watch_ends_when_its_time_is_up(when):
    start = await when.lists("widgets")
    query = {"timeoutSeconds": 1, "resourceVersion": start.version}
    answer = await when.lists("widgets", watch="true", **query)
    assert (answer.status, answer.body) == (200, "")


async def test_kubectls_table_is_watched_as_well(given, when):
    await given.widget("a", size=2)
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    listed = await when.http("GET", when.path("widgets"), **accept)
    assert (listed["kind"], listed["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in listed["columnDefinitions"]] == ["Name", "Size", "Ready", "Age"]
    (row,) = listed["rows"]
    assert row["cells"][:2] == ["a", 2]
    assert row["object"]["kind"] == "PartialObjectMetadata"
