from scripts.option_tables import PAGE, TABLES, filled, table


def test_the_tables_of_options_in_the_documentation_are_what_is_declared():
    page = PAGE.read_text(encoding="utf-8")
    assert page == filled(page), "run python -m scripts.option_tables"
    assert all(f"<!-- options of {name} -->" in page for name in TABLES)


def test_a_table_names_options_as_python_and_the_command_line_do():
    rows = {row.split("|")[1].strip(): row for row in table(TABLES["PromptConfig"]).splitlines()}
    assert "| `--class-specific` / `--shared` | True or False | `True` |" in rows["`class_specific`"]
    assert "|  | a number of at least 0 | `0.02` |" in rows["`init_std`"]
