"""The vector store of LlamaIndex, which is not built yet: importing this says so."""

raise ImportError(
    "engram.sdk.llama_index: the vector store of LlamaIndex is not built yet; call EngramClient from "
    "a store or retriever of your own meanwhile"
)
