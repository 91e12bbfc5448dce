"""The vector store of LangChain, which is not built yet: importing this says so."""

raise ImportError(
    "engram.sdk.langchain: the vector store of LangChain is not built yet; call EngramClient from "
    "a store or retriever of your own meanwhile"
)
