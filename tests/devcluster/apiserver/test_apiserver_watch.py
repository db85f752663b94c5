"""Watches: order, selectors, bookmarks, streaming lists, resuming, 410 after compaction."""

MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


def config_map(name="a", **labels):
    return {"metadata": {"name": name, "labels": labels}, "data": {}}


async def test_every_change_once_and_in_order(api):
    start = (await api("GET", MAPS)).version
    await api("POST", MAPS, config_map("a"))
    async with api.watch(f"{MAPS}?watch=true&resourceVersion={start}") as event:
        assert (await event())["type"] == "ADDED"
        await api("PATCH", f"{MAPS}/a", {"data": {"x": "1"}}, kind=MERGE)
        await api("DELETE", f"{MAPS}/a")
        changed, deleted = await event(), await event()
    assert (changed["type"], deleted["type"]) == ("MODIFIED", "DELETED")
    versions = [int(seen["object"]["metadata"]["resourceVersion"]) for seen in (changed, deleted)]
    assert versions[0] < versions[1]


async def test_without_a_version_it_begins_with_what_there_is(api):
    await api("POST", MAPS, config_map("a"))
    async with api.watch(f"{MAPS}?watch=1") as event:
        assert (await event())["object"]["metadata"]["name"] == "a"


async def test_resuming_misses_and_repeats_nothing(api):
    first = await api("POST", MAPS, config_map("a"))
    await api("POST", MAPS, config_map("b"))
    async with api.watch(f"{MAPS}?watch=true&resourceVersion={first.version}") as event:
        assert (await event())["object"]["metadata"]["name"] == "b"


async def test_entering_and_leaving_a_selector(api):
    await api("POST", MAPS, config_map("a"))
    start = (await api("GET", MAPS)).version
    async with api.watch(f"{MAPS}?watch=true&labelSelector=on%3Dyes&resourceVersion={start}") as event:
        await api("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"on": "yes"}}}, kind=MERGE)
        assert (await event())["type"] == "ADDED"
        await api("PATCH", f"{MAPS}/a", {"metadata": {"labels": {"on": "no"}}}, kind=MERGE)
        assert (await event())["type"] == "DELETED"


async def test_streaming_lists_end_with_a_bookmark(api):
    await api("POST", MAPS, config_map("a"))
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with api.watch(f"{MAPS}?{query}") as event:
        assert (await event())["type"] == "ADDED"
        mark = await event()
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["object"]["metadata"]["resourceVersion"]) > 0


async def test_a_watch_ends_with_a_bookmark_when_its_time_is_up(api):
    start = (await api("GET", MAPS)).version
    query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={start}"
    async with api.watch(f"{MAPS}?{query}") as event:
        assert (await event())["type"] == "BOOKMARK"


async def test_compacted_history_is_expired(api, server):
    old = await api("POST", MAPS, config_map("a"))
    await api("POST", MAPS, config_map("b"))
    server.store.compact()
    async with api.watch(f"{MAPS}?watch=true&resourceVersion={old.version}") as event:
        error = await event()
    assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")
    now = (await api("GET", MAPS)).version
    async with api.watch(f"{MAPS}?watch=true&resourceVersion={now}") as event:
        await api("POST", MAPS, config_map("c"))
        assert (await event())["object"]["metadata"]["name"] == "c"


async def test_a_version_from_the_future_is_refused(api):
    async with api.watch(f"{MAPS}?watch=true&resourceVersion=1000000") as event:
        error = await event()
    assert (error["object"]["code"], error["object"]["reason"]) == (504, "Timeout")
