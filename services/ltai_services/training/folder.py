"""The small folder a job takes along where the person's home is not: checked as it comes. Pure."""

from __future__ import annotations

import base64
import binascii
import io
import posixpath
import struct
import zipfile

from ltai_hub.errors import BadInput
from ltai_hub.slugs import shown
from ltai_hub.units import format_bytes

# it travels in the job's own words, of which a cluster takes so many
LARGEST = 256 << 10
LARGEST_UNPACKED = 16 << 20
# of the text in a request: base64 is a third longer
LONGEST_TEXT = LARGEST * 4 // 3 + 4


def read_folder(text: str | None) -> bytes:
    """A zip archive in base64 → the archive. Raises BadInput."""
    if not text:
        return b""
    try:
        packed = base64.b64decode(text, validate=True)
        entries = zipfile.ZipFile(io.BytesIO(packed)).infolist()
    except (binascii.Error, zipfile.BadZipFile, struct.error, NotImplementedError, OverflowError, ValueError) as error:
        raise BadInput("folder is not a zip archive in base64") from error
    if len(packed) > LARGEST:
        raise BadInput(f"the folder is packed {format_bytes(len(packed))} large; a job takes {format_bytes(LARGEST)} along at most")
    if sum(entry.file_size for entry in entries) > LARGEST_UNPACKED:
        raise BadInput(f"the folder is unpacked larger than {format_bytes(LARGEST_UNPACKED)}; let the program fetch its data")
    for entry in entries:
        if leads_out(entry.filename):
            raise BadInput(f"the folder has a file {shown(entry.filename)} that leads out of it")
    return packed


def leads_out(name: str) -> bool:
    path = posixpath.normpath(name.replace("\\", "/"))
    return path.startswith(("/", "../")) or path == ".." or ":" in path.split("/")[0] or "\0" in name
