"""Wheels without compression, so that the archive around them can be packed as a whole.

A wheel is a zip file, whose parts are packed one by one; xz finds little in what is packed already.
"""

import shutil
import zipfile
from pathlib import Path


def store(wheel: Path, into: Path) -> Path:
    """Writes a wheel again with the same files, not packed; pip installs it in the same way.

    Args:
        wheel: The wheel.
        into: The folder to write it into, under the same name.
    """
    stored = into / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as new:
        for item in old.infolist():
            info = zipfile.ZipInfo(item.filename, item.date_time)
            info.external_attr = item.external_attr  # permissions
            with old.open(item) as source, new.open(info, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)
    return stored
