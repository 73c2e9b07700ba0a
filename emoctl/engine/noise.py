"""The randomness of sampling, as a function of its arguments.

A rollout's noise depends on (run seed, scenario, variant, rollout, turn, generated index) and
nothing else: not on the condition, so that conditions are compared on common random numbers, and
not on the batch, the order or the device. It is made by 32-bit integer arithmetic, which every
device does alike; only the final logarithms may differ in the last bit between devices.

The integer mixer has the form of the 32-bit finalisers in the MurmurHash3 family (multiply,
xor-shift), applied twice with two key words.
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_HALF = 0x8000_0000


@dataclass(frozen=True)
class NoiseKey:
    """Which stream of noise a rollout draws from."""

    seed: int
    scenario: str
    variant: str
    rollout: int
    turn: int = 0

    def words(self, index: int) -> tuple[int, int]:
        """Two 32-bit words for generated token `index`, as signed integers."""
        text = "\x1f".join(
            map(str, (self.seed, self.scenario, self.variant, self.rollout, self.turn, index))
        )
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        first, second = (int.from_bytes(digest[i : i + 4], "little") for i in (0, 4))
        return _signed(first), _signed(second)


def uniforms(words: Int[Tensor, "rows 2"], d_vocab: int) -> Float[Tensor, "rows d_vocab"]:
    """Numbers in (0, 1), 32 random bits each, one for every row and vocabulary entry."""
    return (noise_bits(words, d_vocab).to(torch.float64) + (_HALF + 0.5)) / 2.0**32


def noise_bits(words: Int[Tensor, "rows 2"], d_vocab: int) -> Int[Tensor, "rows d_vocab"]:
    """32 random bits for every row and vocabulary entry, as signed integers."""
    token = torch.arange(d_vocab, dtype=torch.int32, device=words.device)[None, :]
    key = words.to(torch.int32)
    return _mix(_mix(token ^ key[:, :1]).add_(key[:, 1:]))


def gumbels(words: Int[Tensor, "rows 2"], d_vocab: int) -> Float[Tensor, "rows d_vocab"]:
    """Standard Gumbel noise: the index of the largest (log-probability + noise) is a sample."""
    return -torch.log(-torch.log(uniforms(words, d_vocab)))


def _mix(x: Int[Tensor, "rows d_vocab"]) -> Int[Tensor, "rows d_vocab"]:
    x = (x ^ _shift(x, 16)).mul_(_signed(0x7FEB_352D))
    x.bitwise_xor_(_shift(x, 15)).mul_(_signed(0x846C_A68B))
    return x.bitwise_xor_(_shift(x, 16))


def _shift(x: Int[Tensor, "rows d_vocab"], by: int) -> Int[Tensor, "rows d_vocab"]:
    """Logical right shift of signed 32-bit integers."""
    return (x >> by).bitwise_and_((1 << (32 - by)) - 1)


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
