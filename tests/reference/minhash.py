"""Shingles, their exact similarity, and MinHash as its definition says, one hash at a time."""

import re

_MASK32, _MASK64 = (1 << 32) - 1, (1 << 64) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15


def units_of(text: str, unit: str) -> list[bytes]:
    text = text.lower()
    if unit == "words":
        return re.findall(rb"[0-9A-Za-z\x80-\xff]+", text.encode())
    return [char.encode() for char in " ".join(re.split(r"[\x00-\x20]+", text)).strip(" ")]


def shingles_of(text: str, unit: str, shingle: int) -> set[tuple[bytes, ...]]:
    units = units_of(text, unit)
    width = min(shingle, len(units))
    return {tuple(units[k : k + width]) for k in range(len(units) - width + 1)} if units else set()


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


def _unit_key(unit: bytes, kind: str) -> int:
    if kind == "characters":
        return int.from_bytes(unit, "big")
    key = 0xCBF29CE484222325
    for byte in unit:
        key = ((key ^ byte) * 0x100000001B3) & _MASK64
    return key


def _shingle_key(units: tuple[bytes, ...], kind: str) -> int:
    key = len(units)
    for unit in units:
        key = ((key ^ _unit_key(unit, kind)) * _MULTIPLIER) & _MASK64
        key ^= key >> 32
    key = ((key ^ (key >> 32)) * _MULTIPLIER) & _MASK64
    return (((key ^ (key >> 29)) * _MULTIPLIER) & _MASK64) >> 32


def signature(text: str, kind: str, shingle: int, multipliers: list[int], increments: list[int]) -> list[int]:
    keys = [_shingle_key(units, kind) for units in shingles_of(text, kind, shingle)]
    if not keys:
        return [0] * len(multipliers)
    bytes_ = []
    for a, b in zip(multipliers, increments, strict=True):
        least = min((a * key + b) & _MASK32 for key in keys)
        least = ((least ^ (least >> 16)) * 0x85EBCA6B) & _MASK32
        bytes_.append((least ^ (least >> 13)) >> 24)
    return bytes_
