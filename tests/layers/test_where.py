"""Where clauses against GDAL's own reading of the same text on the same file.

Known differences: LIKE ignores the case of ASCII letters only and `=` minds it, as SQLite and OGR's attribute filter on
GeoPackages do; OGR's own SQL wavers. OGR's own SQL takes a backslash in LIKE for an escape; here only ESCAPE does.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyogrio.errors import DataLayerError, DataSourceError

from raster_analysis.errors import InputError
from raster_analysis.layers.field import Field, FieldKind
from raster_analysis.layers.where import DEEPEST, MOST_LISTED, MOST_OPERATORS, names_of, parse_having, parse_where
from raster_analysis.layers.where_fragment import Fragment

FIELDS = (
    Field("OBJECTID", "fid", FieldKind.ID),
    Field("Class", "Class", FieldKind.TEXT),
    Field("Confidence", "Confidence", FieldKind.REAL),
    Field("Count", "Count", FieldKind.INTEGER),
    Field("odd name'?", "odd name'?", FieldKind.TEXT),
    Field("seen", "seen", FieldKind.DATETIME),
)
NAMES = names_of(FIELDS)
SMALL_TEXTS = ("tree", "shrub", "a'b", "100%", "a_b", "ä", "", "5", " tree ")
"""In small letters: OGR's own SQL minds the case of some comparisons and not of others."""
TEXTS = ("tree", "Tree", "TREE", "a'b", "100%", "a_b", "ä", "Ä", "", "5", " tree ", "x\\y")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty points with every text, numbers of both signs, moments, and gaps in all of them."""
    path = tmp_path_factory.mktemp("where") / "where.gpkg"
    count = 60
    rows = np.arange(count)
    data = {
        "Class": np.array([TEXTS[row % len(TEXTS)] for row in rows], dtype=object),
        "Confidence": np.where(rows % 7 == 0, np.nan, (rows - 20) * 2.5),
        "Count": (rows % 9 - 3).astype(np.int32),
        "odd name'?": np.array([SMALL_TEXTS[row % len(SMALL_TEXTS)] for row in rows], dtype=object),
        "seen": (np.datetime64("2024-02-27T22:00:00", "ms") + rows * np.timedelta64(3_600_500, "ms")),
    }
    gaps = [rows % 11 == 0, rows % 7 == 0, rows % 13 == 0, rows % 5 == 0, rows % 6 == 0]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapely.points(rows, rows)),
        list(data.values()),
        list(data),
        field_mask=gaps,
        geometry_type="Point",
        crs="EPSG:3857",
        driver="GPKG",
        layer="features",
    )
    return path


def ours(path: Path, condition: Fragment) -> list[int]:
    """The ids that SQLite finds with the values bound."""
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as connection:
        rows = connection.execute(f"SELECT fid FROM features WHERE {condition.sql} ORDER BY fid", condition.values)
        found = [row[0] for row in rows]
    connection.close()
    return found


def of_ogr_sql(path: Path, clause: str) -> list[int]:
    """The ids that OGR's own SQL finds with the clause as the user wrote it."""
    sql = f"SELECT * FROM features WHERE {clause.replace('OBJECTID', 'fid')}"
    _, fids, _, _ = pyogrio.raw.read(path, sql=sql, sql_dialect="OGRSQL", return_fids=True)
    return sorted(int(fid) for fid in fids)


def of_ogr_filter(path: Path, condition: Fragment) -> list[int]:
    """The ids that OGR's attribute filter finds with the values written out."""
    _, fids, _, _ = pyogrio.raw.read(path, where=condition.literal, return_fids=True)
    return sorted(int(fid) for fid in fids)


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


TOKENS = [
    *("Class", "Confidence", "OBJECTID", "=", "<>", "<", "(", ")", ",", "AND", "OR", "NOT", "IN", "LIKE", "BETWEEN"),
    *("IS", "NULL", "ESCAPE", "1", "2.5", "'tree'", "'%'", "+", "-", "*", "/", ";", "--", "/*", "CAST", "AS"),
]
number = st.one_of(
    st.integers(-70, 130).map(str),
    st.floats(-100, 100, allow_nan=False).map(lambda value: f"{value:.3f}"),
    st.sampled_from(["1e1", "2.", "2147483648"]),
)
pattern = st.one_of(st.sampled_from(SMALL_TEXTS), st.text("abtre'%_", max_size=4)).filter(str.isascii).map(text)
numbers = st.lists(number, min_size=1, max_size=4).map(", ".join)
word = st.one_of(st.sampled_from(SMALL_TEXTS), st.text("abtre'%_ä", max_size=4)).map(text)
numeric = st.sampled_from(["OBJECTID", "Confidence", "Count", "confidence", '"Count"'])
textual = st.sampled_from(['"odd name\'?"', '"ODD NAME\'?"'])
sign = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
arithmetic = st.recursive(
    st.one_of(numeric, number),
    lambda inner: st.builds(
        "({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner
    ),
    max_leaves=4,
)  # fmt: skip
predicate = st.one_of(
    st.builds("{} {} {}".format, arithmetic, sign, arithmetic),
    st.builds("{} {} {}".format, textual, sign, word),
    st.builds("{} {} {}".format, textual, st.sampled_from(["LIKE", "NOT LIKE", "like"]), pattern),
    st.builds("{} LIKE {} ESCAPE '!'".format, textual, pattern),
    st.builds("{} {} ({})".format, numeric, st.sampled_from(["IN", "NOT IN"]), numbers),
    st.builds("{} IN ({})".format, textual, st.lists(word, min_size=1, max_size=3).map(", ".join)),
    st.builds("{} {} {} AND {}".format, numeric, st.sampled_from(["BETWEEN", "NOT BETWEEN"]), number, number),
    st.builds("{} IS {}".format, st.one_of(numeric, textual), st.sampled_from(["NULL", "NOT NULL"])),
    st.sampled_from(["1=1", "1=0", "CAST(Count AS INTEGER) > 1"]),
)  # fmt: skip
# NOT over AND is left out: of a null and a truth OGR's SQL makes a falsehood, standard SQL another null.
clause = st.recursive(
    st.one_of(predicate, st.builds("NOT ({})".format, predicate)),
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["AND", "OR", "and"]), inner),
        st.builds("({})".format, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(clause)
@example("NOT (\"odd name'?\" = 'tree' AND OBJECTID = OBJECTID)")
def test_a_clause_finds_what_ogrs_own_sql_finds(path: Path, clause: str) -> None:
    condition = parse_where(clause, NAMES)
    found = ours(path, condition)
    # What names the id, OGR evaluates itself, and there "unknown and true" is false: NOT makes it true.
    if "OBJECTID" not in clause or "NOT (" not in clause:
        assert found == of_ogr_sql(path, clause), clause
    assert found == of_ogr_filter(path, condition), condition.literal


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(TOKENS),
        min_size=1,
        max_size=9,
    ).map(" ".join)
)
def test_what_is_accepted_is_accepted_by_ogrs_own_sql(path: Path, words: str) -> None:
    try:
        condition = parse_where(words, NAMES)
    except InputError:
        return
    try:
        expected = of_ogr_sql(path, words)
    except (DataLayerError, DataSourceError) as error:
        pytest.fail(f"OGR refuses {words!r}: {error}")
    assert ours(path, condition) == expected


@pytest.mark.parametrize(
    ("clause", "same"),
    [
        ("UPPER(Class) = 'TREE'", "upper(Class) = 'TREE'"),
        ("LOWER(Class) LIKE 't%'", "lower(Class) LIKE 't%'"),
        ("TRIM(Class) = 'tree'", "trim(Class) = 'tree'"),
        ("ABS(Confidence) < 10", "abs(Confidence) < 10"),
        ("ROUND(Confidence / 10, 0) = 2", "round(Confidence / 10, 0) = 2"),
        ("CHAR_LENGTH(Class) = 4", "length(Class) = 4"),
        ("SUBSTRING(Class, 1, 2) = 'tr'", "substr(Class, 1, 2) = 'tr'"),
        ("SUBSTRING(Class FROM 2 FOR 2) = 're'", "substr(Class, 2, 2) = 're'"),
        ("CAST(Count AS VARCHAR(10)) = '2'", "CAST(Count AS TEXT) = '2'"),
        ("seen >= DATE '2024-02-29'", "seen >= '2024-02-29'"),
        ("seen < TIMESTAMP '2024-02-28 08:00:04.500'", "seen < '2024-02-28T08:00:04.500Z'"),
        ("seen BETWEEN '2024-02-28' AND '2024-02-29'", "seen BETWEEN '2024-02-28' AND '2024-02-29'"),
        ("EXTRACT(DAY FROM seen) = 29", "strftime('%d', seen) = '29'"),
        ("CAST(seen AS DATE) = DATE '2024-02-29'", "date(seen) = '2024-02-29'"),
        ("seen < CURRENT_TIMESTAMP AND seen < CURRENT_DATE", "seen IS NOT NULL"),
        ("Class = N'ä'", "Class = 'ä'"),
        ("Count = '2'", "Count = 2"),
        ("Confidence != 5", "Confidence <> 5"),
        ("-Confidence > 10", "Confidence < -10"),
        ("Class = 'Tree'", "Class = 'Tree'"),
        ("Class LIKE 'Tr_e'", "Class LIKE 'Tr_e'"),
        ("", "1=1"),
    ],
)
def test_standard_functions_and_dates_mean_what_sqlite_computes(path: Path, clause: str, same: str) -> None:
    _, fids, _, _ = pyogrio.raw.read(path, where=same, return_fids=True)
    condition = parse_where(clause, NAMES)
    assert len(fids) > 0
    assert ours(path, condition) == of_ogr_filter(path, condition) == sorted(int(fid) for fid in fids)


@pytest.mark.parametrize(
    ("clause", "reason"),
    [
        ("1=1; DROP TABLE features", "character 4"),
        ("'' OR 1=1", "condition is wanted"),
        ("1=1 -- and so on", "character"),
        ("1=1 /* and so on */", "want"),
        ("load_extension('x') = 1", "is no function here"),
        ("fid = 1", "is no field of the layer; it has OBJECTID, Class"),
        ("(SELECT 1) = 1", "'SELECT' is no field"),
        ("Class = (SELECT 'x' FROM sqlite_master)", "'SELECT' is no field"),
        ("Class = 5", "compares a text with a number"),
        ("Confidence = 'tree'", "compares a number with a text"),
        ("Confidence", "a number where a condition is wanted"),
        ("Class LIKE 5", "a text is wanted"),
        ("Class LIKE 'x' ESCAPE 'ab'", "one character"),
        ("Class IN ()", "want"),
        ("Class IN ('a'", "want"),
        ("1e999 = 1", "computer can hold"),
        ("Confidence > .5", "cannot be read"),
        ("Class = 'a\0b'", "holds a character that is none"),
        ("Class = '\ud800'", "holds a character that is none"),
        ("Class = 'open", "character"),
        ("seen > DATE 'yesterday'", "a date such as"),
        ("(1=1) = (1=1)", "a condition where a value is wanted"),
        ("COUNT(OBJECTID) > 1", "is no function here"),
        ("CAST(Class AS BLOB) = 'x'", "one of the types"),
        (" OR ".join(["1=1"] * 10_000), f"more than {MOST_OPERATORS}"),
        ("+".join(["1"] * 10_000) + " = 1", f"more than {MOST_OPERATORS}"),
        ("(" * 5000 + "1=1" + ")" * 5000, f"deeper than {DEEPEST}"),
        ("NOT " * 5000 + "1=1", f"deeper than {DEEPEST}"),
        ("- " * 5000 + "1 = 1", f"deeper than {DEEPEST}"),
        ("UPPER(" * 100 + "Class" + ")" * 100 + " = 'A'", f"deeper than {DEEPEST}"),
        ("OBJECTID IN (" + ",".join(["1"] * (MOST_LISTED + 1)) + ")", "lists more than"),
        ("Class = '" + "x" * 200_000 + "'", "at most 100,000"),
    ],
)
def test_what_is_no_condition_is_refused_with_a_reason(clause: str, reason: str) -> None:
    with pytest.raises(InputError, match="where") as error:
        parse_where(clause, NAMES)
    assert reason in str(error.value)


def test_no_value_of_a_user_is_in_the_sql() -> None:
    condition = parse_where("Class = 'secret''value' AND Confidence > 123456 AND Class LIKE '%more%'", NAMES)
    assert condition.values == ("secret'value", 123456, "%more%")
    assert condition.sql == '(("Class" = ?) AND ("Confidence" > ?) AND ("Class" LIKE ?))'


def test_the_largest_clause_that_is_accepted_runs(path: Path) -> None:
    many = " OR ".join(["Count = 1"] * MOST_OPERATORS)
    assert ours(path, parse_where(many, NAMES)) == ours(path, parse_where("Count = 1", NAMES))
    listed = "OBJECTID IN (" + ",".join(map(str, range(MOST_LISTED))) + ")"
    assert len(ours(path, parse_where(listed, NAMES))) == 60
    deep = "(" * DEEPEST + "Count = 1" + ")" * DEEPEST
    assert ours(path, parse_where(deep, NAMES)) == ours(path, parse_where("Count = 1", NAMES))


def test_a_having_clause_may_compute_over_groups() -> None:
    names = {"total": NAMES["Count"], **NAMES}
    assert parse_having("COUNT(*) > 2 AND max(Class) = 'tree' AND total < 5", names).values == (2, "tree", 5)
