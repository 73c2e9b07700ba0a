"""Random-initialised models of real architectures: small, quick, and never downloaded.

Weights are scaled up until logits are large, so that a wrong mask or layer cannot hide in noise.
"""

from types import SimpleNamespace

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from emoctl.models.fingerprint import ModelIdentity
from emoctl.models.loading import LoadedModel, exact_attention, wrap_model

D_VOCAB = 97
EOS = 3
SMALL = {
    "vocab_size": D_VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "eos_token_id": EOS,
    "pad_token_id": 0,
    "bos_token_id": 1,
}
HEADED = {**SMALL, "head_dim": 8}
GPT2 = {
    "vocab_size": D_VOCAB,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 256,
    "eos_token_id": EOS,
    "bos_token_id": 1,
}

CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SMALL),
    "qwen2": Qwen2Config(**SMALL),
    "qwen3": Qwen3Config(**HEADED),
    "gemma2": Gemma2Config(**HEADED, sliding_window=16, attn_logit_softcapping=20.0),
    "gemma3": Gemma3TextConfig(**HEADED, sliding_window=16),
    "mistral": MistralConfig(**SMALL, sliding_window=16),
    "gpt-neox": GPTNeoXConfig(**{k: v for k, v in SMALL.items() if k != "num_key_value_heads"}),
    "gpt2": GPT2Config(**GPT2),
}


def tiny_model(name: str = "llama", dtype: torch.dtype = torch.float64) -> LoadedModel:
    """One architecture with random weights, the same each time."""
    config = CONFIGS[name]
    config._attn_implementation = exact_attention(config)
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(11)
        module = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
    identity = ModelIdentity(name, None, "memory", f"sha256:{name}", "sha256:none", None)
    tokenizer = SimpleNamespace(eos_token_id=EOS, bos_token_id=1, chat_template=None)
    return wrap_model(module.to(dtype), tokenizer, identity)
