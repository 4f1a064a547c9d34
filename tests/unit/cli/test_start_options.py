from __future__ import annotations

import json
import shutil

import pytest

from soci.cli.options import IndexOptions
from soci.cli.start_options import PATHS_LIMIT_BYTES, StartOptions, read_paths
from soci.settings import IndexSettings, WholeLayers
from tests.builders import BUILD_TOOL
from tests.golden_images import CASES, GOLDEN_IMAGES


def settings_of(**options: object) -> IndexSettings:
    return StartOptions(**options).added_to(IndexSettings())  # type: ignore[arg-type]


def test_without_flags_the_settings_are_the_defaults():
    assert StartOptions().added_to(IndexOptions().settings()) == IndexSettings()


def test_flags_become_settings():
    settings = settings_of(prefetch_budget=5, whole_layers=WholeLayers.AUTO)

    assert (settings.prefetch_budget_bytes, settings.whole_layers) == (5, WholeLayers.AUTO)


class TestPathsAsTheOwnerTakesThem:
    def test_values_are_split_at_commas_and_stripped_and_blank_ones_are_left_out(self):
        settings = settings_of(prefetch_file=["/a", " /b ,/c,", "", " "])

        assert settings.prefetch_patterns == ("/a", "/b", "/c")

    def test_those_of_the_file_come_behind_and_are_not_split(self, tmp_path):
        path = tmp_path / "paths.json"
        path.write_text(json.dumps(["/x,y", "  /z\n", "", "   "]))

        settings = settings_of(prefetch_file=["/b", "/a"], prefetch_files_json=path)

        assert settings.prefetch_patterns == ("/b", "/a", "/x,y", "/z")

    @pytest.mark.parametrize("text", ["[]", "null", "[null]", '[""]', " [ ] \n"])
    def test_an_empty_list_adds_nothing(self, tmp_path, text):
        path = tmp_path / "paths.json"
        path.write_text(text)

        assert settings_of(prefetch_files_json=path).prefetch_patterns == ()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "list of paths: not valid JSON: "),
            ("/a\n/b", "list of paths: not valid JSON: "),
            ('["/a"] ["/b"]', "list of paths: not valid JSON: "),
            ('{"files": ["/a"]}', "got an object, want a JSON list of paths"),
            ('"/a"', "got a text, want a JSON list of paths"),
            ("7", "got a number, want a JSON list of paths"),
            ("true", "got true or false, want a JSON list of paths"),
            ('["/a", 7]', "[1] is a number, want a path"),
            ('["/a", ["/b"]]', "[1] is a list, want a path"),
            ("[" * 2000, "nested deeper than"),
        ],
    )
    def test_anything_else_is_one_line_of_error(self, soci_index, layout, tmp_path, text, message):
        path = tmp_path / "paths.json"
        path.write_text(text)

        result = soci_index("create", f"oci:{layout}:latest", "--prefetch-files-json", path, status=1)

        assert result.stderr.startswith(f"soci-index: {path}: ")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1

    def test_a_list_that_is_too_large_is_refused(self, tmp_path):
        path = tmp_path / "paths.json"
        path.write_bytes(b" " * (PATHS_LIMIT_BYTES + 1))

        with pytest.raises(Exception, match=f"the limit for such a document is {PATHS_LIMIT_BYTES}"):
            read_paths(path)

    @pytest.mark.parametrize("flag", ["--prefetch-files-json", "--profile"])
    @pytest.mark.parametrize("name", ["none", "."])
    def test_a_file_that_cannot_be_read_is_an_error(self, soci_index, layout, tmp_path, flag, name):
        result = soci_index("convert", f"oci:{layout}:latest", flag, tmp_path / name, status=1)

        assert str(tmp_path / name) in result.stderr
        assert result.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        "flags",
        [
            ["--prefetch-file", "/usr/bin/app"],
            ["--prefetch-file", " /usr/bin/app , ,"],
            ["--prefetch-files-json", "paths.json"],
            ["--prefetch-file", "/usr/bin/app", "--prefetch-files-json", "paths.json"],
        ],
        ids=["flag", "list in a flag", "JSON", "both"],
    )
    def test_the_image_is_the_one_that_the_owners_command_writes(
        self, soci_index, tmp_path, monkeypatch, flags
    ):
        name = "oci-index-two-platforms"
        [case] = [case for golden, case in CASES if golden == name and case["prefetch"]]
        shutil.copytree(GOLDEN_IMAGES / name, tmp_path / "image", copy_function=shutil.copyfile)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "paths.json").write_text(json.dumps(case["prefetch"]))

        document = soci_index(
            *["convert", "oci:image:latest", "--all-platforms", "--min-layer-size", "0", "--json"],
            *["--build-tool", BUILD_TOOL, *flags],
        ).document

        assert document["digest"] == case["descriptor"]["digest"]
