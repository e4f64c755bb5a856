import json

import pandas as pd
import pytest

from dualcoop.data.formats.tables.files import read_frame, read_table
from dualcoop.data.problems import ProblemLog
from dualcoop.errors import DataError


def read(path, **options):
    log = ProblemLog()
    table = read_table(path, log, key_columns=("image",), **options)
    return table.columns, [(row, list(cells)) for row, cells in table.rows], log.problems


def write(tmp_path, text, name="labels.csv", encoding="utf-8"):
    file = tmp_path / name
    file.write_bytes(text.encode(encoding))
    return file


def test_rows_are_numbered_as_a_spreadsheet_shows_them(tmp_path):
    text = 'image,labels\na.jpg,"two\nlines"\n\nb.jpg,dog\n'
    columns, rows, problems = read(write(tmp_path, text))
    assert columns == ["image", "labels"]
    assert rows == [(2, ["a.jpg", "two\nlines"]), (4, ["b.jpg", "dog"])]
    assert problems == []


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_ending_is_read(tmp_path, ending):
    _, rows, _ = read(write(tmp_path, ending.join(["image,labels", "a.jpg,dog", "b.jpg,cat"])))
    assert rows == [(2, ["a.jpg", "dog"]), (3, ["b.jpg", "cat"])]


@pytest.mark.parametrize(
    ("name", "separator"), [("t.csv", ","), ("t.csv", ";"), ("t.csv", "\t"), ("t.tsv", "\t"), ("t.txt", ";")]
)
def test_the_separator_of_the_columns_is_told_from_the_header(tmp_path, name, separator):
    text = separator.join(["image", "labels"]) + "\n" + separator.join(["a.jpg", '"dog;cat,cow"'])
    columns, rows, _ = read(write(tmp_path, text, name))
    assert (columns, rows) == (["image", "labels"], [(2, ["a.jpg", "dog;cat,cow"])])


def test_commas_in_class_names_do_not_mislead_the_choice_of_separator(tmp_path):
    columns, _, _ = read(write(tmp_path, "image;salt, pepper, oil\na.jpg;1\n"))
    assert columns == ["image", "salt, pepper, oil"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    columns, _, _ = read(write(tmp_path, "image,labels\na.jpg,dog", encoding="utf-8-sig"))
    assert columns == ["image", "labels"]


def test_empty_columns_behind_the_last_one_are_passed_over(tmp_path):
    columns, rows, problems = read(write(tmp_path, "image,labels,,\na.jpg,dog,,\nb.jpg,cat\n,,,\n"))
    assert (columns, len(rows), problems) == (["image", "labels"], 2, [])


@pytest.mark.parametrize(
    ("line", "count", "remedy"),
    [("b.jpg,dog,cat,cow", 4, "between double quotes"), ("b.jpg", 1, "Fill the missing")],
)
def test_rows_of_another_length_are_reported_with_their_number(tmp_path, line, count, remedy):
    file = write(tmp_path, f"image,labels,split\na.jpg,dog,train\n{line}\nc.jpg,dog,train\n")
    _, rows, problems = read(file)
    assert [row for row, _ in rows] == [2, 4]
    assert str(problems[0]).startswith(f"{file}, row 3 (b.jpg): the row has {count} cells, the header has 3")
    assert remedy in problems[0].remedy


@pytest.mark.parametrize(
    "text",
    ['image,labels\na.jpg,dog\nb.jpg,"cat\nc.jpg,cow\n', 'image,labels\na.jpg,dog\nb.jpg,"12" pipe"\n'],
)
def test_wrong_quotes_name_the_row(tmp_path, text):
    with pytest.raises(DataError, match=r"labels\.csv, row 3: the quotes are wrong .* Close every quote"):
        read(write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl"])
def test_an_empty_file_is_an_empty_table(tmp_path, text, name):
    with pytest.raises(DataError, match=r"the table is empty.*one row for each image"):
        read(write(tmp_path, text, name))


@pytest.mark.parametrize("text", ["image,labels", "image,labels\n\n,\n"])
def test_a_header_alone_is_an_empty_table(tmp_path, text):
    with pytest.raises(DataError, match=r"labels\.csv: the table is empty, it has a header \(row 1\) but no rows"):
        read(write(tmp_path, text))


def test_a_column_that_comes_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"more than once: 'dog'. Name every column once"):
        read(write(tmp_path, "image,dog,cat,dog\na.jpg,1,0,1\n"))


def test_another_encoding_is_named_with_row_byte_and_remedy(tmp_path):
    file = write(tmp_path, "image,labels\na.jpg,dog\nb.jpg,café\n", encoding="cp1252")
    with pytest.raises(DataError, match=r"labels\.csv, row 3: byte 0xe9 is not valid utf-8.*encoding='cp1252'"):
        read(file)
    assert read(file, encoding="cp1252")[1][1] == (3, ["b.jpg", "café"])


def test_utf16_is_recognised_and_read_when_asked_for(tmp_path):
    file = write(tmp_path, "image\tlabels\na.jpg\tcafé\n", name="labels.txt", encoding="utf-16")
    with pytest.raises(DataError, match=r"starts with a UTF-16 mark.*encoding='utf-16'"):
        read(file)
    assert read(file, encoding="utf-16")[1] == [(2, ["a.jpg", "café"])]


def test_an_encoding_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match="encoding is 'utf-9', which is no encoding"):
        read(write(tmp_path, "image\na.jpg\n"), encoding="utf-9")


def test_a_workbook_renamed_to_csv_is_recognised(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(DataError, match=r"this is an Excel workbook.*Save it as CSV"):
        read(tmp_path / "labels.csv")


def test_nul_characters_are_no_text(tmp_path):
    with pytest.raises(DataError, match="NUL characters"):
        read(write(tmp_path, "image,labels\na.jpg\0,dog\n"))


@pytest.mark.parametrize("name", ["labels.xlsx", "labels"])
def test_other_kinds_of_files_are_refused_with_a_remedy(tmp_path, name):
    with pytest.raises(DataError, match=r"is no table that can be read\. Save it as CSV"):
        read(write(tmp_path, "image", name))


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv: the label table is missing"):
        read(tmp_path / "nowhere.csv")


def test_json_lines_keep_their_line_numbers_types_and_all_keys(tmp_path):
    lines = ['{"image": "a.jpg", "labels": ["dog", "cat"]}', "", '{"image": "b\u2028.jpg", "split": "test"}']
    columns, rows, _ = read(write(tmp_path, "\n".join(lines), "labels.jsonl"))
    assert columns == ["image", "labels", "split"]
    assert rows == [(1, ["a.jpg", ["dog", "cat"], None]), (3, ["b\u2028.jpg", None, "test"])]


@pytest.mark.parametrize(
    ("line", "reason"),
    [('{"image": ', "the line is not JSON"), ('["a.jpg"]', "the line holds a list, not an object")],
)
def test_broken_json_lines_are_reported_with_their_number(tmp_path, line, reason):
    file = write(tmp_path, f'{{"image": "a.jpg"}}\n{line}\n', "labels.jsonl")
    _, rows, problems = read(file)
    assert len(rows) == 1
    assert str(problems[0]).startswith(f"{file}, row 2: {reason}")


def test_json_lines_without_any_object_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no line holds a JSON object\. .*row 1: the line holds a int"):
        read(write(tmp_path, "3\n4\n", "labels.jsonl"))


def test_parquet_keeps_lists_numbers_and_missing_values(tmp_path):
    frame = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "labels": [["dog", "cat"], None], "score": [1.0, None]})
    frame.to_parquet(tmp_path / "labels.parquet")
    columns, rows, _ = read(tmp_path / "labels.parquet")
    assert columns == ["image", "labels", "score"]
    assert rows == [(1, ["a.jpg", ["dog", "cat"], 1.0]), (2, ["b.jpg", None, None])]


def test_a_broken_parquet_file_is_refused(tmp_path):
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(DataError, match="this is no readable Parquet file"):
        read(tmp_path / "labels.parquet")


def test_an_empty_parquet_table_is_refused(tmp_path):
    pd.DataFrame({"image": []}).to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(DataError, match="the table is empty, it has no rows"):
        read(tmp_path / "labels.parquet")


def test_a_data_frame_is_a_table():
    table = read_frame(pd.DataFrame({"image": ["a.jpg"], "dog": [1]}, index=[17]))
    assert (table.columns, [(row, list(cells)) for row, cells in table.rows]) == (
        ["image", "dog"],
        [(1, ["a.jpg", 1])],
    )


def test_a_data_frame_without_rows_is_refused():
    with pytest.raises(DataError, match="the data frame: the table is empty, it has no rows"):
        read_frame(pd.DataFrame({"image": []}))


def test_json_text_is_not_confused_by_a_byte_order_mark(tmp_path):
    file = write(tmp_path, json.dumps({"image": "a.jpg"}), "labels.jsonl", encoding="utf-8-sig")
    assert read(file)[1] == [(1, ["a.jpg"])]


def test_a_parquet_file_damaged_inside_names_the_row(tmp_path):
    file = tmp_path / "labels.parquet"
    pd.DataFrame({"image": [f"{row}.jpg" for row in range(1000)]}).to_parquet(file, compression="gzip")
    content = bytearray(file.read_bytes())
    content[40:200] = bytes(160)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.parquet, row 1: the file is damaged .* Write it again"):
        read(file)
