"""Structure: which parts of a clip sound alike, by the self-similarity of its timbre over time.

DITTO (section 4.2 and appendix): T(x_0) T(x_0)^T, T the MFCCs without the first, normalised
across time. Time goes in cells of about 0.19 s. Similarity runs from 0 (opposite timbres,
measured from the clip's mean) to 1 (the same), which is (1 + cosine) / 2: so the paper's
block pattern of ones and zeros is what a clip of two timbres has. The cosines themselves could
not reach it, because what is measured from its mean is negatively correlated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from segue.presets.word import Code, SegueError
from segue.server.ditto.mel import MelConfig, filterbank

CELL_SECONDS = 0.186  # 16 frames of the shipped mel, 32 cells to its window
COEFFICIENTS = 20  # the usual default (librosa's); the paper states none. The first is dropped
# Much music ends at 16 kHz. Where bands above it counted, switching those on and off was the
# structure that a search found, and nobody would have heard it.
HIGHEST_HZ = 12_000.0
SMOOTH_CELLS = 5  # about 1 s, second order: the paper states neither
SMOOTH_ORDER = 2
STILL = 1e-4  # variance of an MFCC (0.09 dB) and squared length below which nothing is heard
LETTERS = 26
SHORTEST_SECONDS = 0.5
SLACK_SECONDS = 0.25  # by which lengths may miss what they are to fill


def cell_frames(config: MelConfig) -> int:
    """Mel frames to a cell."""
    return max(1, round(CELL_SECONDS * config.sample_rate / config.hop))


def cells(frames: int, config: MelConfig) -> int:
    """Cells in so many frames, counted from the first; a last one that is half full counts."""
    size = cell_frames(config)
    return max(1, (frames + size // 2) // size)


@lru_cache(maxsize=8)
def cepstrum(config: MelConfig, device: torch.device) -> Tensor:
    """DCT-II rows 1 to 19, orthonormal, (coefficients - 1, bands): row 0 is the level.

    Of the bands below HIGHEST_HZ; the others weigh nothing.
    """
    hz = torch.linspace(0, config.sample_rate / 2, config.bins)
    ends = (filterbank(config, torch.device("cpu")) > 0).float() * hz
    heard = int((ends.amax(dim=1) < HIGHEST_HZ).sum())
    k = torch.arange(1, COEFFICIENTS, dtype=torch.float64)[:, None]
    band = torch.arange(heard, dtype=torch.float64) + 0.5
    rows = torch.cos(math.pi * k * band / heard) * math.sqrt(2 / heard)
    return F.pad(rows, (0, config.bands - heard)).float().to(device)


@lru_cache(maxsize=32)
def smoother(n: int, device: torch.device) -> Tensor:
    """Savitzky-Golay along one axis as a matrix, (n, n); the ends are fitted as well.

    Every row fits a parabola to the five cells nearest to it. Shorter clips are left alone.
    """
    if n < SMOOTH_CELLS:
        return torch.eye(n, device=device)
    offsets = torch.arange(SMOOTH_CELLS, dtype=torch.float64)
    powers = offsets[:, None] ** torch.arange(SMOOTH_ORDER + 1)
    fit = powers @ torch.linalg.pinv(powers)  # five values to the parabola's at the same places
    made = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        first = min(max(i - SMOOTH_CELLS // 2, 0), n - SMOOTH_CELLS)
        made[i, first : first + SMOOTH_CELLS] = fit[i - first]
    return made.float().to(device)


def timbre(mel: Tensor, config: MelConfig) -> Tensor:
    """MFCCs of mid in cells: (batch, channels, frames) to (batch, cells, 19)."""
    bands = F.avg_pool1d(mel[:, : config.bands], cell_frames(config), ceil_mode=True)
    bands = bands[..., : cells(mel.shape[-1], config)]
    return (cepstrum(config, mel.device) @ bands).transpose(-1, -2)


def directions(mel: Tensor, asked: Tensor, config: MelConfig) -> Tensor:
    """Unit vectors whose products are the cosines, (batch, cells, 19); zero where not asked.

    Each coefficient is brought to mean 0 and deviation 1 over the asked cells: (cells,), 0 or 1.
    """
    weight = (asked / asked.sum().clamp(min=1))[:, None]
    mfccs = timbre(mel, config)
    centred = mfccs - (mfccs * weight).sum(dim=1, keepdim=True)
    variance = (centred**2 * weight).sum(dim=1, keepdim=True)
    scaled = centred / (variance + STILL).sqrt() * asked[:, None]
    return scaled / ((scaled**2).sum(dim=-1, keepdim=True) + STILL).sqrt()


def feature(mel: Tensor, config: MelConfig, *, smooth: bool = True) -> Tensor:
    """Self-similarity of (batch, channels, frames): (batch, cells, cells), 0 to 1.

    Smoothed it may overshoot both a little. A clip that never changes has 0.5 everywhere.
    """
    everywhere = mel.new_ones(cells(mel.shape[-1], config))
    unit = directions(mel, everywhere, config)
    if smooth:  # S (X Xᵀ) Sᵀ = (S X)(S X)ᵀ: the matrix itself never has to be filtered
        unit = smoother(unit.shape[1], mel.device) @ unit
    return (1 + unit @ unit.transpose(-1, -2)) / 2


def target(
    sections: str,
    frames: int,
    config: MelConfig,
    *,
    lengths_seconds: Sequence[float] | None = None,
    start_seconds: float = 0.0,
    length_seconds: float | None = None,
) -> Tensor:
    """The section each of `frames` belongs to, (frames,) int64: 0 for the first letter; -1 none.

    Sections fill the clip from `start_seconds` on for `length_seconds` (None: to its end), evenly
    or by `lengths_seconds`. Raises SegueError(BAD_REQUEST) for what is no plan or does not fit.
    """
    letters = _letters(sections)
    rate = config.sample_rate / config.hop
    lengths, start = _lengths(
        letters, lengths_seconds, start_seconds, length_seconds, frames / rate
    )
    edges = [round((start + at) * rate) for at in accumulate(lengths, initial=0.0)]
    edges[-1] = min(edges[-1], frames)
    numbers = {letter: i for i, letter in enumerate(dict.fromkeys(letters))}
    made = torch.full((frames,), -1, dtype=torch.int64)
    for letter, (first, end) in zip(letters, pairwise(edges), strict=True):
        made[first:end] = numbers[letter]
    return made


def matrix(target: Tensor, config: MelConfig) -> Tensor:
    """What a clip of these sections has: 1 where letters are equal, `different` elsewhere.

    target: (frames,) int64. Returns (cells, cells), NaN for cells that are not asked or hold
    more than one letter. Unsmoothed.
    """
    one_hot = _one_hot(target, config)
    asked = one_hot.sum(dim=1)
    equal = one_hot @ one_hot.T
    made = equal + (1 - equal) * (1 + _apart(one_hot)) / 2
    return made.masked_fill(asked[:, None] * asked == 0, math.nan)


def transfer(mel: Tensor, config: MelConfig) -> Tensor:
    """A region's own plan, unsmoothed as in DITTO: (channels, frames) to (cells, cells).

    Raises SegueError(BAD_REQUEST) for less than a second, and for one that never changes.
    """
    if cells(mel.shape[-1], config) < SMOOTH_CELLS:
        raise SegueError(
            Code.BAD_REQUEST, "the region is too short to have a structure; give at least a second"
        )
    made = feature(mel[None], config, smooth=False)[0]
    if float(made.diagonal().mean()) < 0.9:
        raise SegueError(
            Code.BAD_REQUEST,
            "the region is silent or never changes, so it has no structure; choose another",
        )
    return made


def stretched(matrix: Tensor, length: int) -> Tensor:
    """A (n, n) plan over `length` cells, ends on ends.

    Between cells the directions whose cosines it holds are interpolated, so that each cell stays
    wholly like itself.
    """
    n = matrix.shape[0]
    at = torch.linspace(0, n - 1, length, device=matrix.device)
    rows = (1 - (at[:, None] - torch.arange(n, device=matrix.device)).abs()).clamp(min=0)
    cosines = rows.to(matrix.dtype) @ (2 * matrix - 1) @ rows.to(matrix.dtype).T
    return _similar(cosines)


def part(matrix: Tensor, frames: slice, config: MelConfig) -> Tensor:
    """What a plan asks of `frames`, counted from its first; NaN for those outside it.

    Less than the whole is measured from its own mean, as a window of a longer clip is. Without
    that, a part in which little changes would be asked to resemble itself everywhere, and what
    is normalised across time cannot.
    """
    first = round(frames.start / cell_frames(config))
    size, n = cells(frames.stop - frames.start, config), len(matrix)
    low, high = min(max(first, 0), n), min(max(first + size, 0), n)
    made = matrix.new_full((size, size), math.nan)
    if low < high:
        block = matrix[low:high, low:high]
        inside = slice(low - first, high - first)
        made[inside, inside] = block if high - low == n else _recentred(block)
    return made


def loss(mel: Tensor, target: Tensor, config: MelConfig) -> Tensor:
    """Mean squared difference of similarities over the asked cells: (batch,).

    mel: (batch, channels, frames). target: (frames,) int64 of `target`, compared smoothed on
    both sides; or (cells, cells) of `transfer`, NaN where nothing is asked, compared as it is.
    0 where there is nothing to compare: fewer than two letters, no asked cell.
    """
    if target.dim() == 1:
        return _section_loss(mel, target, config)
    known = ~target.isnan()
    unit = directions(mel, known.any(dim=1).to(mel.dtype), config)
    wanted = 2 * target.nan_to_num() - 1
    squares = (unit @ unit.transpose(-1, -2) - wanted) ** 2 * known
    return squares.sum(dim=(-2, -1)) / known.sum().clamp(min=1) / 4


def _section_loss(mel: Tensor, target: Tensor, config: MelConfig) -> Tensor:
    """Squared differences of U Uᵀ and V L Vᵀ, summed without making either: n cells, not n².

    No branch and no shape depends on values, so that a GPU can record it.
    """
    one_hot = _one_hot(target, config).to(mel.dtype)
    asked = one_hot.sum(dim=1)
    smooth = smoother(len(asked), mel.device) * asked[:, None]
    u, v = smooth @ directions(mel, asked, config), smooth @ one_hot
    apart = _apart(one_hot)
    levels = apart + (1 - apart) * torch.eye(LETTERS, device=mel.device, dtype=mel.dtype)
    uu, vu, vv = u.transpose(-1, -2) @ u, v.T @ u, levels @ (v.T @ v)
    crossed = (vu * (levels @ vu)).sum(dim=(-2, -1))
    squares = (uu**2).sum(dim=(-2, -1)) - 2 * crossed + (vv * vv.T).sum()
    compared = (one_hot.amax(dim=0).sum() > 1) / asked.sum().clamp(min=1) ** 2
    return squares.clamp(min=0) * compared / 4


def _one_hot(target: Tensor, config: MelConfig) -> Tensor:
    """Sections of cells, (cells, 26); zero for one that is not asked or holds two."""
    size, count = cell_frames(config), cells(target.shape[-1], config)
    numbers = target[None].float()
    low = -F.max_pool1d(-numbers, size, ceil_mode=True)[0, :count]
    high = F.max_pool1d(numbers, size, ceil_mode=True)[0, :count]
    whole = torch.where(low == high, high, -1.0)
    return (whole[:, None] == torch.arange(LETTERS, device=target.device)).float()


def _apart(one_hot: Tensor) -> Tensor:
    """The cosine of different letters: the farthest that k of them can all be from each other.

    -1 for two, -1/2 for three: the corners of a regular simplex around the clip's mean.
    """
    present = one_hot.amax(dim=0).sum()
    return -1 / (present - 1).clamp(min=1)


def _similar(cosines: Tensor) -> Tensor:
    """Products of vectors to the similarity of their directions."""
    length = cosines.diagonal().clamp(min=STILL).sqrt()
    return (1 + cosines / length[:, None] / length) / 2


def _recentred(matrix: Tensor) -> Tensor:
    cosines = 2 * matrix - 1
    rows = cosines.mean(dim=1, keepdim=True)
    return _similar(cosines - rows - rows.T + cosines.mean())


def _letters(sections: str) -> str:
    letters = sections.upper()
    if not letters:
        raise _bad('sections are empty; give letters such as "ABA"')
    if not (letters.isascii() and letters.isalpha()):
        raise _bad(f'sections are letters such as "ABA", and {sections!r} is not')
    if len(set(letters)) == 1:
        raise _bad(f'{sections!r} has nothing that differs; give at least two letters, as in "ABA"')
    return letters


def _lengths(
    letters: str,
    given: Sequence[float] | None,
    start: float,
    length: float | None,
    clip: float,
) -> tuple[list[float], float]:
    """Seconds of every section, and where the first starts; they end with the asked stretch."""
    room = clip - start if length is None else length
    if not (0 <= start < clip and 0 < room <= clip - start + SLACK_SECONDS):
        raise _bad(
            f"sections from {start:g} s for {room:g} s do not lie in the clip's {clip:.2f} s"
        )
    lengths = [room / len(letters)] * len(letters) if given is None else list(given)
    if len(lengths) != len(letters):
        raise _bad(f"{letters} has {len(letters)} sections, and there are {len(lengths)} lengths")
    if not abs(sum(lengths) - room) <= SLACK_SECONDS:  # NaN compares false
        raise _bad(
            f"the sections last {sum(lengths):.2f} s together, and have {room:.2f} s to fill"
        )
    lengths[-1] += room - sum(lengths)
    if min(lengths) < SHORTEST_SECONDS:
        raise _bad(
            f"a section of {min(lengths):.2f} s is too short to be heard as one;"
            f" give each at least {SHORTEST_SECONDS} s"
        )
    return lengths, start


def _bad(text: str) -> SegueError:
    return SegueError(Code.BAD_REQUEST, text)
