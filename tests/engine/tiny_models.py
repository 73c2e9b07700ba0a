"""Random-initialised models of real architectures: small, quick, and never downloaded.

Weights are drawn wide, so that logits reach 10 and more and a wrong mask or layer cannot hide in
noise. Biases, attention sinks and norm gains are random too: each would otherwise be a zero or a
one, which is right in any place.
"""

import math
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma2Config,
    Gemma3nTextConfig,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    Llama4TextConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3NextConfig,
)

from emoctl.models.fingerprint import ModelIdentity
from emoctl.models.loading import LoadedModel, exact_attention, wrap_model

D_VOCAB = 97
EOS = 3
WINDOW = 16
"""Positions that a sliding window reaches, wherever there is one."""

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
UNGROUPED = {key: value for key, value in SMALL.items() if key != "num_key_value_heads"}
GPT2 = {
    "vocab_size": D_VOCAB,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 256,
    "eos_token_id": EOS,
    "bos_token_id": 1,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
WINDOWED = {"sliding_window": WINDOW}
TWO_KINDS = {"layer_types": ["sliding_attention", "full_attention"] * 2}

CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SMALL),
    "qwen2": Qwen2Config(**SMALL),
    "qwen3": Qwen3Config(**HEADED),
    "gemma2": Gemma2Config(
        **HEADED,
        **WINDOWED,
        **TWO_KINDS,
        attn_logit_softcapping=3.0,
        final_logit_softcapping=20.0,
        query_pre_attn_scalar=5,
        tie_word_embeddings=False,
    ),
    "gemma3": Gemma3TextConfig(
        **HEADED, **WINDOWED, **TWO_KINDS, query_pre_attn_scalar=5, tie_word_embeddings=False
    ),
    "mistral": MistralConfig(**SMALL, **WINDOWED),
    "phi3": Phi3Config(**SMALL, **WINDOWED),
    "olmo2": Olmo2Config(**SMALL),
    "gpt-neox": GPTNeoXConfig(
        **UNGROUPED,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "partial_rotary_factor": 0.5,
        },
    ),
    "gpt2": GPT2Config(**GPT2),
    "gpt-oss": GptOssConfig(
        **HEADED,
        **WINDOWED,
        **TWO_KINDS,
        num_local_experts=4,
        num_experts_per_tok=2,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10_000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ),
}
"""What the fast engine serves. Gemma's output is untied from its embedding, which is so long that
random weights would otherwise repeat one token for ever."""

OUTSIDE: dict[str, PretrainedConfig] = {
    "qwen3-next": Qwen3NextConfig(
        **HEADED,
        **EXPERTS,
        layer_types=["linear_attention", "full_attention"] * 2,
        num_experts=4,
        shared_expert_intermediate_size=16,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
    ),
    "deepseek-v3": DeepseekV3Config(
        **{**SMALL, "num_key_value_heads": 4},
        **EXPERTS,
        kv_lora_rank=16,
        q_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        n_routed_experts=4,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=2,
    ),
    "llama4": Llama4TextConfig(
        **HEADED, intermediate_size_mlp=48, num_local_experts=2, attention_chunk_size=WINDOW
    ),
    "mamba": MambaConfig(
        vocab_size=D_VOCAB, hidden_size=32, num_hidden_layers=4, state_size=8, eos_token_id=EOS
    ),
}
"""What it must refuse by name: linear attention, latent attention, chunks, no attention at all."""

PITFALLS: dict[str, PretrainedConfig] = {
    "gemma3n": Gemma3nTextConfig(
        **HEADED,
        **WINDOWED,
        **TWO_KINDS,
        vocab_size_per_layer_input=D_VOCAB,
        hidden_size_per_layer_input=8,
        laurel_rank=4,
        num_kv_shared_layers=2,
        activation_sparsity_pattern=[0.0] * 4,
    ),
    "qwen2-moe": Qwen2MoeConfig(
        **SMALL,
        **EXPERTS,
        **WINDOWED,
        use_sliding_window=True,
        max_window_layers=2,
        num_experts=4,
        shared_expert_intermediate_size=16,
    ),
}
"""What looks as if it were served: keys that layers share, a window that attention is not told."""

TL_REFUSES: dict[str, str] = {}
"""Of all these, what TransformerLens' bridge does not cover, with its words."""


def tiny_model(
    name: str = "llama", dtype: torch.dtype = torch.float64, **changed: Any
) -> LoadedModel:
    """One architecture with random weights, the same each time, whatever is `changed` in its
    config."""
    config = type(known := {**CONFIGS, **OUTSIDE, **PITFALLS}[name]).from_dict(
        {**known.to_dict(), **changed}
    )
    config._attn_implementation = exact_attention(config)
    module = AutoModelForCausalLM.from_config(config, experts_implementation="eager")
    _draw_weights(module, torch.Generator().manual_seed(11))
    module.config.architectures = [type(module).__name__]
    identity = ModelIdentity(name, None, "memory", f"sha256:{name}", "sha256:none", None)
    return wrap_model(module.to(dtype), _tokenizer(), identity)


def _tokenizer() -> PreTrainedTokenizerFast:
    """One that spells token i `<i>`; it has no chat template."""
    words = {f"<{token}>": token for token in range(D_VOCAB)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<2>")),
        pad_token="<0>",
        bos_token="<1>",
        unk_token="<2>",
        eos_token=f"<{EOS}>",
        name_or_path="memory",
        add_bos_token=True,
    )


@torch.no_grad()
def _draw_weights(module: Any, generator: torch.Generator) -> None:
    """Matrices that keep lengths, a table of tokens and an output that do more, and a spread
    around whatever each gain, bias and sink starts from."""
    ends = [module.get_input_embeddings().weight, module.get_output_embeddings().weight]
    width = 0.45 if ends[0] is ends[1] else 0.7
    for parameter in module.parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if any(parameter is end for end in ends):
            parameter.copy_(width * drawn)
        elif parameter.dim() > 1:
            parameter.copy_(1.3 / math.sqrt(parameter.shape[-1]) * drawn)
        else:
            parameter.add_(0.3 * drawn)
