"""Files that are no events: what they are, by their first bytes, and what to do."""

HEAD = 512  # bytes that tell
ARCHIVE = "unpack it first"
EXPORT = "export it as JSON Lines or Parquet"
# What a file begins with, what it is then, and what makes events of it.
BEGINNINGS = {
    b"PK\x03\x04": ("a ZIP archive, or an Excel workbook", "unpack it, or export it as JSON Lines"),
    b"\xd0\xcf\x11\xe0": ("an Office file", EXPORT),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", ARCHIVE),
    b"Rar!\x1a\x07": ("a RAR archive", ARCHIVE),
    b"\x04\x22\x4d\x18": ("compressed by LZ4", ARCHIVE),
    b"\xff\x06\x00\x00sNaPpY": ("compressed by Snappy", ARCHIVE),
    b"ElfFile\x00": ("a Windows event log (EVTX)", EXPORT),
    b"SQLite format 3\x00": ("an SQLite database", EXPORT),
    b"\xd4\xc3\xb2\xa1": ("a packet capture", "make events of it, as by Zeek or Suricata"),
    b"\x0a\x0d\x0d\x0a": ("a packet capture", "make events of it, as by Zeek or Suricata"),
    b"Obj\x01": ("an Avro file", EXPORT),
    b"ARROW1\x00\x00": ("an Arrow file", EXPORT),
    b"ORC": ("an ORC file", EXPORT),
    b"%PDF": ("a PDF", EXPORT),
    b"#separator": ("a log of Zeek in columns", "let Zeek write JSON: LogAscii::use_json=T"),
    b"<?xml": ("XML", EXPORT),
    b"<!DOCTYPE html": ("a web page, perhaps of a login", EXPORT),
    b"<html": ("a web page, perhaps of a login", EXPORT),
}


def no_events(head: bytes) -> str | None:
    """What the file is that begins so, and what to do; None if it may hold events."""
    found = next((own for begins, own in BEGINNINGS.items() if head.startswith(begins)), None)
    if head[257:262] == b"ustar":
        found = "a tar archive", ARCHIVE
    return f"not JSON or Parquet but {found[0]}: {found[1]}" if found else None
