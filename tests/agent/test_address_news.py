"""What the kernel says of addresses, in a network of the test's own."""

from pathlib import Path

import pytest

from spkg.agent.address_news import AddressNews
from tests.support.namespaces import isolated, move_loopback, own_network


def hears_of_an_address() -> None:
    own_network()
    news = AddressNews()
    news.take()
    assert not news.take()

    move_loopback("127.0.0.2")

    assert news.take()
    assert not news.take()
    news.close()
    assert news.fileno() is None
    assert not news.take()


def hears_that_there_was_too_much() -> None:
    own_network()
    news = AddressNews()
    for number in range(2000):
        move_loopback(f"127.0.{number // 250}.{number % 250 + 1}")

    while news.take():
        pass

    move_loopback("127.9.9.9")
    assert news.take()
    news.close()


def test_an_address_that_changes_is_news() -> None:
    isolated(hears_of_an_address)


def test_more_news_than_the_kernel_keeps_are_news() -> None:
    isolated(hears_that_there_was_too_much)


def test_a_system_that_says_nothing_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spkg.agent.address_news.ROUTING", 9999)  # there is no such family

    news = AddressNews()

    assert news.fileno() is None
    assert not news.take()
    news.close()


def test_nothing_is_left_open() -> None:
    def opened() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    before = opened()
    AddressNews().close()

    assert opened() == before
