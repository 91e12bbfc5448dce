"""The WordNet script, on lines as its data files have them."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "wordnet_jsonl.py"
NOUN = (
    "00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 ~ 00002137 n 0000 ~ 04424418 n 0000 | that which is perceived  \n"
)
WORDS = "abounding 0 galore(ip) 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 1"
ADJECTIVE = f'00013887 00 s 0a {WORDS} 001 & 00013160 a 0000 | "whiskey | galore"  \n'
LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n"


@pytest.fixture
def folder(tmp_path):
    for part, line in (("noun", NOUN), ("verb", ""), ("adj", ADJECTIVE), ("adv", "")):
        (tmp_path / f"data.{part}").write_text(LICENCE + line)
    return tmp_path


def script(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_each_synset_is_a_line(folder):
    noun, adjective = map(json.loads, script("--folder", folder).stdout.splitlines())
    assert noun == {
        "text": "that which is perceived",
        "metadata": {
            "source": "wordnet",
            "version": "3.0",
            "pos": "noun",
            "type": "noun",
            "category": "noun.Tops",
            "offset": 1740,
            "lemmas": ["entity"],
        },
    }
    assert adjective["text"] == '"whiskey | galore"'
    assert adjective["metadata"]["lemmas"] == ["abounding", "galore", *"cdefghij"]
    assert adjective["metadata"]["type"] == "adjective satellite"


def test_parts_and_a_file_may_be_named(folder, tmp_path):
    ran = script("--folder", folder, "--pos", "adj", "verb", "--out", tmp_path / "out.jsonl")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


def test_metadata_keep_the_limit():
    synset_of = runpy.run_path(str(SCRIPT))["synset_of"]
    words = " ".join(f"{'w' * 100}{number} 0" for number in range(200))
    metadata = synset_of(f"00000001 03 n c8 {words} 000 | gloss\n", "noun")["metadata"]
    assert 4000 < len(json.dumps(metadata).encode()) <= 4096
    assert metadata["lemmas"][0] == "w" * 100 + "0"


def test_absent_files_say_what_to_install(tmp_path):
    ran = script("--folder", tmp_path)
    assert ran.returncode == 2
    assert "apt-get install wordnet-base" in ran.stderr


def test_the_sample_is_as_the_script_writes_it():
    lines = (ROOT / "tests" / "data" / "glosses.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 200
    for line in lines:
        memory = json.loads(line)
        assert memory["text"]
        assert list(memory["metadata"]) == ["source", "version", "pos", "type", "category", "offset", "lemmas"]
        assert len(line.encode()) < 4096
