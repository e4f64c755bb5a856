import subprocess
import sys
import warnings

import pandas as pd
import pytest

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.errors import ConfigError, DataError


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(path, **options)


def test_the_data_package_needs_no_torch():
    code = "import sys, dualcoop.data; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_data_frame_can_be_loaded(photos):
    frame = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "labels": [["dog"], ["cat"]]})
    data = quiet(frame, images=photos("a.jpg", "b.jpg"))
    assert data.classes == ("cat", "dog")
    assert data.source == "the data frame"


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv: the file or folder is missing"):
        load_dataset(tmp_path / "nowhere.csv")


def test_another_kind_of_file_lists_what_can_be_read(tmp_path):
    (tmp_path / "labels.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"\.xlsx is no label file.*table \(a file \.csv.*Save a workbook as CSV"):
        load_dataset(tmp_path / "labels.xlsx")


def test_a_folder_with_a_table_points_to_it(table, tmp_path):
    table("image,labels\na.jpg,dog\n")
    with pytest.raises(DataError, match=r"this is a folder with 'labels\.csv'\. Pass the path"):
        load_dataset(tmp_path)


def test_a_folder_without_labels_says_what_was_looked_for(photos):
    with pytest.raises(DataError, match=r"the folder holds no labels.*ImageSets/Main.*Pass the path of a table"):
        load_dataset(photos("a.jpg"))


def test_a_folder_is_no_table(photos):
    with pytest.raises(DataError, match=r"this is a folder\. Pass the table itself"):
        load_dataset(photos("a.jpg"), format="table")


def test_another_format_lists_the_known_ones(table):
    with pytest.raises(ConfigError, match="format is 'yolo', expected one of auto, table, coco, voc, nuswide"):
        load_dataset(table("image,labels\na.jpg,dog\n"), format="yolo")


def test_a_folder_that_looks_like_two_formats_asks_for_one(tmp_path):
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageList").mkdir()
    with pytest.raises(DataError, match=r"looks like voc and like nuswide\. Pass format='voc' or format='nuswide'"):
        load_dataset(tmp_path)
