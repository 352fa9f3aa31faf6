"""Paths, each under a signature that holds: it makes none of them safe (decisions 8 and 9)."""

from tests.vectors.make.base import vector
from tests.vectors.make.commands import extract, raw, u32


def at(path: bytes) -> bytes:
    return raw(1, extract(path=path))


def versioned(path: bytes) -> bytes:
    return raw(2, extract(path=path))


PATH = "format error at 0x40"


@vector(section="E.4.3", expect=PATH)
def parent() -> bytes:
    """A file that would land outside the root."""
    return at(b"../etc/passwd")


@vector(section="E.4.3", expect=PATH)
def parent_inside() -> bytes:
    """A way out and in again."""
    return at(b"/bin/../app")


@vector(section="E.4.3", expect=PATH)
def dot() -> bytes:
    """A part that is a dot: two spellings of one file."""
    return at(b"/./bin/app")


@vector(section="E.4.3", expect=PATH)
def two_leading_slashes() -> bytes:
    """One leading slash is allowed, two leave an empty part."""
    return at(b"//bin/app")


@vector(section="E.4.3", expect=PATH)
def empty_part() -> bytes:
    """An empty part in the middle."""
    return at(b"/bin//app")


@vector(section="E.4.3", expect=PATH)
def trailing_slash() -> bytes:
    """A file is no directory."""
    return at(b"/bin/app/")


@vector(section="E.4.3", expect=PATH)
def slash() -> bytes:
    """The root is no file."""
    return at(b"/")


@vector(section="E.4.3", expect=PATH)
def empty() -> bytes:
    """A path of no octets."""
    return at(b"")


@vector(section="E.4.3", expect=PATH)
def nul() -> bytes:
    """A path that ends early for whoever reads it as a C string."""
    return at(b"/bin/app\x00.sig")


@vector(section="E.4.3", expect=PATH)
def not_utf_8() -> bytes:
    """Latin-1."""
    return at(b"/bin/caf\xe9")


@vector(section="E.4.3", expect=PATH)
def own_directory() -> bytes:
    """The installer's own directory."""
    return at(b"/.spkg/txn/journal")


@vector(section="E.4.3", expect="trusted")
def own_directory_deeper() -> bytes:
    """The name is nobody's own below the root."""
    return at(b"/srv/.spkg/x")


@vector(section="E.4.3", expect=PATH)
def part_of_256() -> bytes:
    """A part that no file system takes."""
    return at(b"/" + b"x" * 256)


@vector(section="E.4.3", expect="trusted")
def part_of_255() -> bytes:
    """The longest part there can be."""
    return at(b"/" + b"x" * 255)


@vector(section="E.4.3", expect=PATH)
def path_of_1025() -> bytes:
    """One octet too long."""
    return at(b"/" + b"/".join([b"x" * 204] * 5))


@vector(section="E.4.3", expect="trusted")
def path_of_1024() -> bytes:
    """The longest path there can be."""
    return at(b"/".join([b"x" * 204] * 5))


@vector(section="E.4.3", expect=PATH)
def depth_of_33() -> bytes:
    """One level too deep."""
    return at(b"/x" * 33)


@vector(section="E.4.3", expect="trusted")
def depth_of_32() -> bytes:
    """The deepest there can be."""
    return at(b"/x" * 32)


@vector(section="E.4.4", expect="trusted")
def tree_of_everything() -> bytes:
    """Remove Sub-Tree of the root."""
    return raw(7, u32(0, 12, 1) + b"/")


@vector(section="E.4.4", expect="format error at 0x2c")
def tree_of_two_slashes() -> bytes:
    """Neither the root nor a path."""
    return raw(7, u32(0, 12, 2) + b"//")


@vector(section="E.4.4", expect="format error at 0x2c")
def tree_with_two_slashes() -> bytes:
    """A sub-tree may end in one slash."""
    return raw(7, u32(0, 12, 6) + b"/www//")


@vector(section="E.4.4", expect="format error at 0x2c")
def remove_with_slash() -> bytes:
    """Only a sub-tree may."""
    return raw(5, u32(0, 12, 5) + b"/www/")


@vector(section="E.4.3", expect="trusted")
def versioned_longest() -> bytes:
    """A base of 8 characters, whatever octets they take, and an extension of 3."""
    return versioned("/etc/éééééééé.ü07".encode())


@vector(section="E.4.3", expect=PATH)
def versioned_base_of_9() -> bytes:
    """A base of 9 characters."""
    return versioned(b"/etc/firmware9.007")


@vector(section="E.4.3", expect=PATH)
def versioned_base_empty() -> bytes:
    """No base at all."""
    return versioned(b"/etc/.007")


@vector(section="E.4.3", expect=PATH)
def versioned_extension_of_4() -> bytes:
    """An extension of 4 characters."""
    return versioned(b"/etc/app.conf")


@vector(section="E.4.3", expect=PATH)
def versioned_without_extension() -> bytes:
    """A directory has the dot, the name has none."""
    return versioned(b"/etc.007/app")


@vector(section="E.4.3", expect=PATH)
def versioned_base_with_dot() -> bytes:
    """Where the base would end is anybody's guess."""
    return versioned(b"/etc/a.b.007")
