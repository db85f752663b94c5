"""Signing in at a real identity provider in a real Chromium: from the door to a job, and out; a session that ends."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
ENTER, CTRL = 13, 2
AT_DOOR = "document.getElementById('door')?.hidden === false"
INSIDE = "document.getElementById('rooms')?.hidden === false && !!document.querySelector('#tiers :checked')"
BUTTON = "document.getElementById('sign-in')"
TENANTS = {"staff": "loner3"}


async def to_the_door(browser: Any, gateway: Any) -> None:
    await browser.open(gateway.url + "/")
    await browser.until(f"{AT_DOOR} && !!{BUTTON}?.offsetParent")


async def sign_in(browser: Any, gateway: Any, who: str = "ada") -> None:
    await browser.js(f"{BUTTON}.click()")
    await browser.until("location.hostname === 'localhost' && !!document.querySelector('input[name=sub]')")
    await browser.js("document.querySelector('input[name=sub]').focus()")
    await browser.type(who)
    await browser.press("Enter", ENTER, "\r")
    await browser.until(f"location.origin === {gateway.url!r} && document.readyState === 'complete'")


async def looks_well(browser: Any, folder: Path, name: str) -> None:
    for theme, width in (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)):
        (folder / f"{name}-{theme}-{width}.png").write_bytes(await browser.look(width, theme))
        assert await browser.js("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert await browser.axe() == []


async def test_from_the_door_to_a_job_and_out_again(
    own_gateway: Any, browser: Any, identity_provider: str, tmp_path: Path
) -> None:
    own_gateway.let_in(identity_provider, name="Example Co", tenants=TENANTS)
    own_gateway.start()
    await to_the_door(browser, own_gateway)
    assert await browser.js(f"{BUTTON}.textContent") == "Sign in with Example Co"
    await looks_well(browser, tmp_path, "door")
    await sign_in(browser, own_gateway)
    await browser.until(INSIDE)
    assert await browser.js("document.getElementById('who').textContent") == "Signed in · loner3"
    assert await browser.js("document.cookie + sessionStorage.length + localStorage.length") == "00", (
        "no script sees it"
    )
    await looks_well(browser, tmp_path, "inside")
    await browser.js("document.getElementById('prompt').focus()")
    await browser.type("a car drives through the rain")
    await browser.press("Enter", ENTER, "\r", CTRL)
    await browser.until("document.getElementById('stage-title').textContent.startsWith('Waiting')")
    await browser.until("document.querySelectorAll('#cards button').length === 1")
    await browser.js("document.getElementById('forget').click()")
    await browser.until(AT_DOOR)
    await browser.open(own_gateway.url + "/?again")
    await browser.until(f"{AT_DOOR} && !!{BUTTON}?.offsetParent")
    ours = [error for error in browser.errors if "jsdelivr" not in error and identity_provider not in error]
    assert ours == []


async def test_a_session_that_ends_keeps_what_was_typed(own_gateway: Any, browser: Any, identity_provider: str) -> None:
    own_gateway.let_in(identity_provider, tenants=TENANTS)
    own_gateway.start()
    await to_the_door(browser, own_gateway)
    await sign_in(browser, own_gateway)
    await browser.until(INSIDE)
    await browser.js("document.getElementById('prompt').value = 'half a sentence'")
    await browser.js("document.getElementById('seed').value = '7'")
    own_gateway.let_in(identity_provider, tenants={"painters": "loner4"})
    await browser.until(f"{AT_DOOR} && document.getElementById('key-fault').textContent.includes('session is over')")
    own_gateway.let_in(identity_provider, tenants=TENANTS)
    await sign_in(browser, own_gateway)
    await browser.until(INSIDE)
    typed = "[document.getElementById('prompt').value, document.getElementById('seed').value].join()"
    assert await browser.js(typed) == "half a sentence,7"
    await browser.js("document.getElementById('forget').click()")
    await browser.until(AT_DOOR)
    assert await browser.js(typed) == ",", "whoever comes next does not read it"


async def test_who_is_nobodys_tenant_reads_why_and_the_key_still_opens(
    own_gateway: Any, browser: Any, identity_provider: str, tmp_path: Path
) -> None:
    own_gateway.let_in(identity_provider, tenants=TENANTS)
    own_gateway.start()
    await to_the_door(browser, own_gateway)
    await sign_in(browser, own_gateway, "guest")
    words = await browser.js("document.querySelector('main').innerText")
    assert "your claim “groups” names no tenant" in words.lower()
    assert "visitors" not in words, "the claim is named, its values are not"
    await looks_well(browser, tmp_path, "nobody")
    own_gateway.let_in("http://127.0.0.1:9", tenants=TENANTS)
    await browser.open(own_gateway.url + "/login")
    assert "does not answer" in await browser.js("document.querySelector('main').innerText")
    await browser.js("document.querySelector('main a').click()")
    await browser.until(f"location.pathname === '/' && {AT_DOOR}")
    await browser.js("document.getElementById('key').focus()")
    await browser.type(own_gateway.keys["loner3"])
    await browser.press("Enter", ENTER, "\r")
    await browser.until(INSIDE)
    assert await browser.js("document.getElementById('who').hidden"), "a key is nobody's session"
