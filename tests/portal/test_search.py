from __future__ import annotations

import pytest

from raster_analysis.portal.item import Access, ItemText
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.search import Search, search_items
from raster_analysis.portal.users import User


@pytest.fixture
def filled(portal: Portal, alice: User, bob: User) -> Portal:
    for owner, kind, title, tags, snippet in (
        (alice, "Deep Learning Package", "Tree crowns", "trees,model", "finds crowns"),
        (alice, "Deep Learning Package", "Bäume", "trees", "100% sure_thing"),
        (alice, "Image Service", "Land cover", "result", "classes"),
        (bob, "Deep Learning Package", "Ships", "boats, big trees", "harbour"),
    ):
        text = ItemText(title=title, tags=tags, snippet=snippet)  # type: ignore[arg-type]
        portal.items.add(portal.draft(owner, kind, text))
    return portal


def titles(portal: Portal, query: str, user: User | None) -> set[str]:
    return {item.title for item in search_items(portal.items, Search(query), user).items}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"Tree crowns", "Bäume", "Land cover"}),
        ("TREE", {"Tree crowns", "Bäume"}),
        ("bÄUME", {"Bäume"}),
        ("title:tree", {"Tree crowns"}),
        ('tags:"trees"', {"Tree crowns", "Bäume"}),
        ("tags:tree", set()),
        ('type:"deep learning package"', {"Tree crowns", "Bäume"}),
        ('type:"Deep Learning Package" accountid:0123', {"Tree crowns", "Bäume"}),
        ('type:"deep learning"', set()),
        ("owner:ALICE -crowns", {"Bäume", "Land cover"}),
        ("(crowns OR cover) AND NOT type:pdf", {"Tree crowns", "Land cover"}),
        ("100%", {"Bäume"}),
        ("1%0", set()),
        ("sure_thing", {"Bäume"}),
        ("e_cover", set()),
        ("cro*s", {"Tree crowns"}),
        ("'; DROP TABLE items; --", set()),
        ("harbour", set()),
    ],
)
def test_queries(filled: Portal, alice: User, query: str, found: set[str]) -> None:
    assert titles(filled, query, alice) == found


def test_search_shows_only_what_the_user_may_read(filled: Portal, alice: User, bob: User, root: User) -> None:
    assert titles(filled, "", None) == set()
    assert titles(filled, "", bob) == {"Ships"}
    assert len(titles(filled, "", root)) == 4
    ships = search_items(filled.items, Search("ships"), bob).items[0]
    filled.items.change(ships.id, bob, {"access": Access.PUBLIC})
    assert titles(filled, "NOT title:xyz", None) == {"Ships"}
    assert titles(filled, f"id:{ships.id}", alice) == {"Ships"}


def test_negation_does_not_open_what_is_closed(filled: Portal) -> None:
    assert titles(filled, "NOT owner:nobody OR access:private", None) == set()


def test_pages_give_each_item_once(filled: Portal, alice: User) -> None:
    seen, start, pages = [], 1, 0
    while start != -1:
        found = search_items(filled.items, Search("", start=start, num=2, sort_field="title"), alice)
        assert found.total == 3
        seen += [item.title for item in found.items]
        start, pages = found.next_start, pages + 1
    assert (sorted(seen), pages) == (sorted({"Tree crowns", "Bäume", "Land cover"}), 2)


@pytest.mark.parametrize(("start", "num"), [(-1, 10), (0, 10), (1, 0), (99, 10), (1, -5)])
def test_pages_outside_are_empty_and_the_last(filled: Portal, alice: User, start: int, num: int) -> None:
    found = search_items(filled.items, Search("", start=start, num=num), alice)
    assert (found.items, found.next_start, found.total) == ((), -1, 3)


def test_results_are_sorted_as_asked(filled: Portal, alice: User) -> None:
    def order(direction: str) -> list[str]:
        search = Search("", sort_field="title", sort_order=direction)  # type: ignore[arg-type]
        return [item.title for item in search_items(filled.items, search, alice).items]

    assert order("asc") == ["Bäume", "Land cover", "Tree crowns"]
    assert order("desc") == ["Tree crowns", "Land cover", "Bäume"]
    search_items(filled.items, Search("", sort_field="title; DROP TABLE items"), alice)
