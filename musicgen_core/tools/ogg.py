"""Ogg pages, as far as making an encoder's output reproducible needs them (RFC 3533, section 6)."""

from __future__ import annotations

import struct

_HEADER_BYTES = 27


def set_serial(data: bytes, serial: int) -> bytes:
    """Give every page of one logical stream this serial number and renew the page checksums.

    Encoders draw the number at random, so that two encodings of the same samples differ. ValueError when `data` is
    no sequence of Ogg pages.
    """
    result = bytearray(data)
    start = 0
    while start < len(result):
        if result[start : start + 4] != b"OggS" or start + _HEADER_BYTES > len(result):
            raise ValueError(f"no Ogg page at byte {start} of {len(result)}")
        num_lacing = result[start + 26]
        body = start + _HEADER_BYTES + num_lacing
        end = body + sum(result[start + _HEADER_BYTES : body])
        struct.pack_into("<II", result, start + 14, serial, struct.unpack_from("<I", result, start + 18)[0])
        struct.pack_into("<I", result, start + 22, 0)
        struct.pack_into("<I", result, start + 22, _checksum(memoryview(result)[start:end]))
        start = end
    return bytes(result)


def _checksum(page: memoryview) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    return value


def _checksum_table() -> tuple[int, ...]:
    """CRC-32 with polynomial 0x04c11db7, not reflected, zero start and end."""
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x104C11DB7 if value & 0x80000000 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _checksum_table()
