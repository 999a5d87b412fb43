"""Explanations on a terminal: the words of a text in colour, a digit with its heat."""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from clients.explanations import DigitExplanation, TextExplanation
from clients.fan_out import CallResult

FOR, AGAINST = (190, 30, 25), (30, 70, 200)
"""Background colours of what speaks most for the label, and most against it."""
FAINTEST = 0.1
"""Words weaker than this part of the strongest one stay without colour."""
NAMED = 3
"""The strongest words, which are shown with their numbers."""
_UPPER_HALF = "▀"


def print_explanations(console: Console, calls: Iterable[CallResult[Any]]) -> None:
    """Prints each input that was answered: its label, then what speaks for and against it."""
    for call in calls:
        result = call.result
        if not isinstance(result, TextExplanation | DigitExplanation):
            continue
        latency = f"{call.seconds * 1e3:.1f} ms"
        head = Text.assemble((result.label, "bold"), f"  {result.confidence:.1%}  {latency}")
        if isinstance(result, TextExplanation):
            console.print(head)
            console.print(highlight(str(call.input), result))
            console.print(strongest(result))
        else:
            console.print(head + Text(f"  {call.input}"), soft_wrap=True)
            # Without colour nothing could be told from it.
            if console.is_terminal and not console.no_color:
                console.print(picture(result))


def highlight(text: str, explanation: TextExplanation) -> Text:
    """The text, with words for the label in red and words against it in blue."""
    shown = Text(text)
    strongest = max((abs(word.attribution) for word in explanation.words), default=0.0)
    for word in explanation.words:
        strength = abs(word.attribution) / strongest if strongest else 0.0
        if strength >= FAINTEST:
            colour = FOR if word.attribution > 0 else AGAINST
            red, green, blue = (round(part * (0.35 + 0.65 * strength)) for part in colour)
            style = Style(color="bright_white", bgcolor=Color.from_rgb(red, green, blue))
            shown.stylize(style, word.start, word.end)
    return shown


def strongest(explanation: TextExplanation) -> Text:
    """A line that names the strongest words with their numbers."""
    words = explanation.strongest(NAMED)
    line = " · ".join(f"{' '.join(word.text.split())} {word.attribution:+.2f}" for word in words)
    return Text(line, style="dim")


def picture(explanation: DigitExplanation) -> Text:
    """The digit with its heat, 14 lines of 28 characters with two pixels each."""
    with Image.open(io.BytesIO(explanation.overlay)) as overlay:
        side = len(explanation.heatmap)
        pixels = np.asarray(overlay.resize((side, side), Image.Resampling.NEAREST))
    shown = Text()
    for upper, lower in zip(pixels[0::2], pixels[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            shown.append(_UPPER_HALF, style)
        shown.append("\n")
    shown.rstrip()
    return shown
