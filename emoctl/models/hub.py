"""The hub's own cache and its downloads, as far as a command line needs them; no torch."""

from pathlib import Path

from emoctl.errors import ModelError

FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""What transformers loads a language model from; pickled weights are left where they are."""


def hub_snapshot(id: str, revision: str | None = None) -> Path | None:
    """The folder of a hub model whose config is in the hub's cache, else None."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(id, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def pull_hub(id: str, revision: str | None = None) -> Path:
    """Fetch a hub model into the hub's cache, and give its folder.

    Raises:
        ModelError: the hub cannot be reached, or has no such model for this user.
    """
    import httpx
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(id, revision=revision, allow_patterns=list(FILES)))
    except (OSError, ValueError, httpx.HTTPError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"model {id!r} cannot be fetched from the hub: {first}",
            hint="check the id, the network, HF_HUB_OFFLINE and HF_TOKEN; without the hub use "
            "the embedded model, a folder or a GGUF file",
        ) from error
