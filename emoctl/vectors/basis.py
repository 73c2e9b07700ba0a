"""Neutral activations and a recipe → the directions that are projected out of every vector."""

from emoctl.config.schema import RecipeConfig
from emoctl.vectors.activations import NeutralActivations
from emoctl.vectors.recipe import NeutralBasis, covariance_basis, neutral_basis


def make_basis(neutral: NeutralActivations, recipe: RecipeConfig) -> NeutralBasis:
    """The neutral directions that the recipe projects out."""
    if neutral.token_covariance is not None:
        return covariance_basis(
            neutral.token_covariance, recipe.neutral_variance, recipe.neutral_components
        )
    return neutral_basis(neutral.means, recipe.neutral_variance, recipe.neutral_components)
