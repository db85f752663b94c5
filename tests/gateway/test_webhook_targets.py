"""Where a webhook may go: nowhere inside, whatever the spelling; and when it is tried again. Pure."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videofleet.queue import Settled
from videofleet_gateway.webhooks.addresses import is_permitted, is_public
from videofleet_gateway.webhooks.outcome import outcome
from videofleet_gateway.webhooks.schedule import DELAYS_S, delay_s
from videofleet_gateway.webhooks.sending import Reply
from videofleet_gateway.webhooks.targets import Reach, check_target

ONLY_PUBLIC = Reach()
CORP = Reach(networks=(ip_network("10.20.0.0/16"), ip_network("0.0.0.0/0")), domains=("corp.internal",))

REFUSED = [
    "http://hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "gopher://hooks.example.com/",
    "//hooks.example.com/",
    "javascript:alert(1)",
    "hooks.example.com",
    "https://",
    "https:///x",
    "https://:443/",
    "https://?x",
    "https://hooks/",
    "https://localhost/",
    "https://foo.localhost/",
    "https://metadata.google.internal/",
    "https://redis.default.svc/",
    "https://redis.default.svc.cluster.local/",
    "https://printer.local/",
    "https://router.home.arpa/",
    "https://user:pass@hooks.example.com/",
    "https://user@hooks.example.com/",
    "https://hooks.example.com:22/",
    "https://hooks.example.com:6379/",
    "https://hooks.example.com:0/",
    "https://hooks.example.com:99999/",
    "https://hooks.example.com/#part",
    "https://hooks.example.com\\@127.0.0.1/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0x7f.1/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://10.20.3.4/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/",
    "https://0xa9fea9fe/",
    "https://168.63.129.16/",
    "https://100.100.100.200/",
    "https://192.0.0.192/",
    "https://198.18.0.1/",
    "https://203.0.113.7/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://240.0.0.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:db8::1]/",
    "https://[2001::1]/",
    "https://[::127.0.0.1]/",
    "https://[100::1]/",
    "https://1.2.3.4.5/",
    "https://-a.example.com/",
    "https://a..example.com/",
    "https://ex_ample/",
]
TAKEN = [
    "https://hooks.example.com/x",
    "https://hooks.example.com",
    "https://HOOKS.example.com/a?b=c",
    "https://hooks.example.com:443/",
    "https://hooks.example.com:8443/x",
    "https://93.184.216.34/",
    "https://[2606:4700::6810:84e5]/",
    "https://xn--bcher-kva.example/",
    "https://hooks.example.com./x",
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_not_public_is_refused_in_every_spelling(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|is no URL"):
        check_target(url, ONLY_PUBLIC)


@pytest.mark.parametrize("url", TAKEN)
def test_what_is_public_is_taken(url: str) -> None:
    check_target(url, ONLY_PUBLIC)
    assert True


@pytest.mark.parametrize("url", ["http://10.20.3.4:9000/x", "https://10.20.3.4/", "http://a.corp.internal:9000/"])
def test_the_installation_may_allow_its_own(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_target(url, ONLY_PUBLIC)
    check_target(url, CORP)


@pytest.mark.parametrize("url", ["https://169.254.169.254/", "https://[fd00:ec2::254]/", "https://0.0.0.0/"])
def test_metadata_is_refused_whatever_is_allowed(url: str) -> None:
    with pytest.raises(ValueError, match="public"):
        check_target(url, CORP)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_public(address: object) -> None:
    found = ip_address(str(address))
    assert not is_public(found) or (found.is_global and not found.is_multicast)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_what_it_stands_for(address: object) -> None:
    assert is_permitted(f"::ffff:{address}", ()) == is_permitted(str(address), ())


def test_the_schedule_is_the_standards() -> None:
    pauses = [delay_s(attempts, 0.5) for attempts in range(1, 11)]
    assert pauses == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, None]
    assert 75 * 3600 < sum(DELAYS_S) < 76 * 3600


@given(st.integers(1, 9), st.floats(0, 1, exclude_max=True), st.floats(0, 1e9))
def test_jitter_is_a_tenth_and_retry_after_is_obeyed_within_reason(attempts: int, chance: float, asked: float) -> None:
    pause_s = delay_s(attempts, chance, asked)
    assert pause_s is not None
    assert pause_s >= min(asked, DELAYS_S[-1])
    assert pause_s <= max(1.1 * DELAYS_S[attempts], min(asked, DELAYS_S[-1]))


@pytest.mark.parametrize(
    ("reply", "settled"),
    [
        (Reply(204), Settled.DELIVERED),
        (Reply(301), Settled.AGAIN),
        (Reply(404), Settled.AGAIN),
        (Reply(429, retry_after_s=60), Settled.AGAIN),
        (Reply(None, "timeout"), Settled.AGAIN),
        (Reply(410), Settled.DISABLED),
    ],
)
def test_what_follows_from_a_reply(reply: Reply, settled: Settled) -> None:
    decided = outcome(reply, 1, 0.5)
    assert decided.settled is settled
    assert decided.delay_s >= reply.retry_after_s


def test_the_tenth_failure_is_the_last() -> None:
    assert outcome(Reply(500), 9, 0.5).settled is Settled.AGAIN
    assert outcome(Reply(500), 10, 0.5).settled is Settled.FAILED
