"""Hyper-parameters of the built-in supervisors."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class LanguageModelHParams:
    """A model of the next token: any backbone, any tokenizer, one loss."""

    name: Literal["language_model"] = "language_model"
