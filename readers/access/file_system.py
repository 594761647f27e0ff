"""Of which kind the file system of a store is: one of this machine, or one behind a network.

Behind a network each page that is touched on a map is a request of its own, of 4 KiB, and the next
one waits for it. Large requests, many at a time, serve there.
"""

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4"),
    *("orangefs", "pvfs2", "smb3", "smbfs", "virtiofs", "vboxsf", "prl_fs"),
}


def file_system_of(path: Path) -> str:
    """The kind of the file system that a path is on, such as ``ext4``; empty if nobody can tell.

    Linux lists the mounts of a process with the numbers of their devices, which a path has, too.
    """
    try:
        device = os.stat(path).st_dev
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        # ID, parent, major:minor, root, mount point, options, …, a dash, kind, source, options.
        fields = line.split()
        if len(fields) > 2 and fields[2] == number and "-" in fields:
            return fields[fields.index("-") + 1]
    return ""


def is_network(kind: str) -> bool:
    """Whether a kind of file system is behind a network, or a program that serves it (FUSE).

    ``fuseblk`` is neither: a program that reads a disk of this machine.
    """
    return kind in _NETWORK or kind == "fuse" or kind.startswith("fuse.")
