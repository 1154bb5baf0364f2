from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from raster_analysis.errors import InputError
from raster_analysis.portal.query import DEEPEST, MOST_TERMS, All, AnyOf, Node, Not, Term, parse_query
from raster_analysis.portal.search import condition_of

WORDS = st.from_regex(r"[a-z*_%é']{1,8}", fullmatch=True)
FIELDS = st.sampled_from(["title", "type", "owner", "id", "tags", "accountid", "snippet", "access"])
TERMS = st.builds(Term, st.none() | FIELDS, WORDS)


def write(node: Node) -> str:
    """The text that a tree is parsed from, with all parentheses written out."""
    match node:
        case Term(field, value):
            return f'{field}:"{value}"' if field else value
        case Not(part):
            return f"NOT ({write(part)})"
        case All(parts):
            return " AND ".join(f"({write(part)})" for part in parts)
        case AnyOf(parts):
            return " OR ".join(f"({write(part)})" for part in parts)


TREES = st.recursive(
    TERMS,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(All, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=12,
)


@given(TREES)
@settings(max_examples=200, deadline=None)
def test_what_a_tree_is_written_as_is_parsed_as_the_tree(tree: Node) -> None:
    assert parse_query(write(tree)) == tree


@given(st.text(alphabet=st.sampled_from("ab:()\"- \t'%_*;\\ANDORT\x00é"), max_size=60) | st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_condition_or_a_clear_error(text: str) -> None:
    try:
        condition = condition_of(parse_query(text))
    except InputError:
        return
    assert str(condition.compile(dialect=sqlite.dialect()))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", All(())),
        ("   ", All(())),
        ("tree", Term(None, "tree")),
        ('"big tree"', Term(None, "big tree")),
        ("big tree", All((Term(None, "big"), Term(None, "tree")))),
        ("a AND b OR c", AnyOf((All((Term(None, "a"), Term(None, "b"))), Term(None, "c")))),
        ("a -b", All((Term(None, "a"), Not(Term(None, "b"))))),
        ("NOT NOT a", Term(None, "a")),
        ("tree-crown", Term(None, "tree-crown")),
        ("TYPE:x", Term("type", "x")),
        ('title: "a b"', Term("title", "a b")),
        ("and or not", All((Term(None, "and"), Term(None, "or"), Term(None, "not")))),
    ],
)
def test_examples(text: str, tree: Node) -> None:
    assert parse_query(text) == tree


def test_the_queries_that_clients_send_are_understood() -> None:
    model = Term("type", "Deep Learning Package")
    assert parse_query('type:"Deep Learning Package" accountid:org0') == All((model, Term("accountid", "org0")))
    asked = parse_query('Tree AND  (type:"deep learning package") accountid:org0')
    assert asked == All((Term(None, "Tree"), Term("type", "deep learning package"), Term("accountid", "org0")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(a", "closing parenthesis is missing"),
        ("a)", "no opening one"),
        ('"a', "quote missing"),
        ("a AND", "at the end"),
        ("OR a", "before 'OR'"),
        ("()", "missing"),
        ("title:", "title: needs a value"),
        ("NOT", "missing"),
        ("colour:red", "there is no field 'colour'"),
        ("x" * 5000, "5000 characters"),
        ("a " * (MOST_TERMS + 1), "terms"),
        ("(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1), "deeper"),
    ],
)
def test_faults_are_told_with_their_place(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        condition_of(parse_query(text))


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE items; --", "x' OR '1'='1", 'title:"\' UNION SELECT password_hash FROM users --"', "id:1=1;--"],
)
def test_values_are_bound_and_never_part_of_the_statement(text: str) -> None:
    compiled = condition_of(parse_query(text)).compile(dialect=sqlite.dialect())
    for word in ("drop", "union", "select", "1=1", "'1'"):
        assert word not in str(compiled).lower()
    assert sqlite3.complete_statement(f"SELECT {compiled};")
