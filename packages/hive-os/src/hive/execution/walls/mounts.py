"""The file system of a sandbox: an empty root, and in it only what the plan names.

Everything but the agent's own folders is read-only; nothing carries set-user-id bits or devices. Mounts of
other processes are hidden, so is what /proc tells of the machine's secrets.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hive.execution.walls import kernel, landlock, namespaces
from hive.execution.walls.plan import GATE_INSIDE, HOME, INSIDE_UID, OUTBOX_INSIDE, MountPlan

STAGE: Final = "/tmp"  # noqa: S108 - hidden below an own tmpfs before anything is put there
_OLD: Final = ".old"
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SYSTEM_FILES: Final = (
    "/etc/ld.so.cache", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/localtime",
    "/etc/alternatives", "/etc/mime.types",
)  # fmt: skip
_STUBS: Final = {
    "etc/passwd": f"agent:x:{INSIDE_UID}:{INSIDE_UID}:agent:{HOME}:/bin/sh\n",
    "etc/group": f"agent:x:{INSIDE_UID}:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/hostname": "sandbox\n",
    "etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_LINKS: Final = {
    "dev/fd": "/proc/self/fd",
    "dev/stdin": "/proc/self/fd/0",
    "dev/stdout": "/proc/self/fd/1",
    "dev/stderr": "/proc/self/fd/2",
}
_HIDDEN_OF_PROC: Final = (
    "kcore", "kmsg", "keys", "key-users", "sysrq-trigger", "timer_list", "kallsyms", "config.gz",
    "kpagecount", "kpageflags", "kpagecgroup", "modules", "slabinfo", "vmallocinfo",
)  # fmt: skip
_LOCKED_DOWN: Final = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
_WRITABLE: Final = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV
_TMPFS: Final = kernel.MS_NOSUID | kernel.MS_NODEV
_SCRATCH: Final = {
    "tmp": "tmp",
    "home": HOME.lstrip("/"),
    "shm": "dev/shm",
    "outbox": OUTBOX_INSIDE.lstrip("/"),
}


class OwnerMap(NamedTuple):
    """The host uid that an agent has, for mounts whose owner is to look like it (as root only)."""

    uid: int
    served_by_root: bool = False


class StorePlan(NamedTuple):
    """A folder for whoever serves the root to the agent: where it appears, and its bound."""

    inside: str
    size_bytes: int


class Root(NamedTuple):
    """A root that is begun: what every sandbox has is in it, what a plan names is not.

    `place` is where it is built, `rules` the Landlock rules so far, `mappings` the owners that can be shown as the agent.
    """

    place: Path
    rules: dict[str, int]
    mappings: dict[tuple[int, int], int]


def own_place() -> str:
    """Return an empty folder that nothing else lies below, for roots that are begun ahead; empty where none can be had."""
    mine = os.geteuid()
    for above in ("/run", STAGE):
        place = Path(above) / f"hive-stage-{mine}"
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o700, exist_ok=True)
            found = place.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == mine and not found.st_mode & 0o077:
                return str(place)
    return ""


def begin(place: str, owner_map: OwnerMap | None) -> Root:
    """Begin a root at `place`: the system's folders, devices and /proc.

    What lies below `place` is hidden from then on, so a plan's sources are opened before, or do not lie there.
    """
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", place, "tmpfs", _TMPFS, "mode=0755,size=4m,nr_inodes=4096")
    root = Root(Path(place), {}, {})
    _devices(root.place, root.rules)
    _system(root.place, root.rules)
    _proc(root.place, root.rules, writable=False)
    if owner_map is not None:
        own = (os.geteuid(), os.getegid())
        root.mappings[own] = namespaces.open_id_mapping(own, owner_map.uid)
    return root


def build(
    mounts: Sequence[MountPlan],
    *,
    owner_uid: int,
    disk_bytes: int,
    owner_map: OwnerMap | None,
    store: StorePlan | None = None,
    begun: Root | None = None,
) -> dict[str, int]:
    """Build the root and move into it; return the Landlock rules that say the same.

    `owner_uid` is the agent's user as this process sees it. `owner_map` (as root) makes a writable
    mount's owner look like the agent. With `store` another kernel serves this root to the agent: it gets a
    folder of its own in it, and a /proc that it may write.
    """
    sources = _open_sources(mounts)
    root, rules, mappings = begun or begin(STAGE, None)
    _scratch(root, owner_uid, disk_bytes, rules)
    for mount in sorted(mounts, key=lambda mount: mount.inside):
        if _is_there_already(mount):
            continue
        _bind_plan(root, mount, sources[mount.host], owner_map, rules, mappings)
    if store is not None:
        _proc_again(root, rules)
        (root / store.inside.lstrip("/")).mkdir(mode=0o700)
        options = f"mode=0700,size={store.size_bytes}"
        kernel.mount("tmpfs", str(root / store.inside.lstrip("/")), "tmpfs", _TMPFS, options)
    for opened in (*sources.values(), *mappings.values()):
        os.close(opened)
    _enter(root)
    return rules


def _is_there_already(mount: MountPlan) -> bool:
    """Tell whether the system's own folders bring it along."""
    return (
        not mount.writable
        and mount.host == mount.inside
        and any(mount.inside == path or mount.inside.startswith(path + "/") for path in _SYSTEM)
    )


def _open_sources(mounts: Sequence[MountPlan]) -> dict[str, int]:
    """Open every source before the stage hides what lies below it."""
    return {mount.host: os.open(mount.host, os.O_PATH | os.O_CLOEXEC) for mount in mounts}


def _scratch(root: Path, owner_uid: int, disk_bytes: int, rules: dict[str, int]) -> None:
    """Give the agent one bounded store in memory, seen at several places."""
    store = root / ".store"
    store.mkdir()
    inodes = max(1024, disk_bytes // 4096)
    options = f"mode=0755,size={disk_bytes},nr_inodes={inodes}"
    kernel.mount("tmpfs", str(store), "tmpfs", _TMPFS, options)
    for name, inside in _SCRATCH.items():
        (store / name).mkdir(mode=0o700)
        os.chown(store / name, owner_uid, owner_uid)
        (root / inside).mkdir(parents=True, exist_ok=True)
        kernel.mount(str(store / name), str(root / inside), "", kernel.MS_BIND)
        rules["/" + inside] = landlock.EVERYTHING
    kernel.call("umount2", os.fsencode(store), kernel.MNT_DETACH)
    store.rmdir()


def _devices(root: Path, rules: dict[str, int]) -> None:
    (root / "dev").mkdir()
    for name in _DEVICES:
        target = root / "dev" / name
        target.touch()
        kernel.mount(f"/dev/{name}", str(target), "", kernel.MS_BIND)
        rules[f"/dev/{name}"] = landlock.DEVICE
    for link, target_of_link in _LINKS.items():
        (root / link).symlink_to(target_of_link)


def _system(root: Path, rules: dict[str, int]) -> None:
    (root / "etc").mkdir()
    for path, text in _STUBS.items():
        (root / path).write_text(text)
    rules["/etc"] = landlock.READ
    for path in _SYSTEM:
        host = Path(path)
        if host.is_symlink():
            (root / path[1:]).symlink_to(host.readlink())
        elif host.is_dir():
            _bind(root, path, path, _LOCKED_DOWN)
            rules[path] = landlock.READ_RUN
    for path in _SYSTEM_FILES:
        if Path(path).exists() and not Path(path).is_symlink():
            _bind(root, path, path, _LOCKED_DOWN)
        elif Path(path).is_symlink():
            (root / path[1:]).symlink_to(Path(path).readlink())


def _bind_plan(
    root: Path,
    mount: MountPlan,
    source: int,
    owner_map: OwnerMap | None,
    rules: dict[str, int],
    mappings: dict[tuple[int, int], int],
) -> None:
    """Bind one mount of the plan; as root, what is writable or the node's own is shown as the agent's."""
    here = f"/proc/self/fd/{source}"
    above = str(Path(mount.inside).parent)
    if above != "/":
        # Python lists the folder above a package that it imports.
        rules[above] = rules.get(above, 0) | landlock.LIST
    attributes = _WRITABLE if mount.writable else _LOCKED_DOWN
    access = landlock.EVERYTHING if mount.writable else landlock.READ_RUN
    rules[mount.inside] = rules.get(mount.inside, 0) | access
    if owner_map is not None and (mount.writable or mount.ours or mount.kept):
        if _bind_mapped(root, here, mount.inside, attributes, owner_map, mappings):
            return
        if mount.ours:
            _give(Path(here), owner_map.uid)
    _bind(root, here, mount.inside, attributes)


def _give(folder: Path, uid: int) -> None:
    """Give the node's own folder to the agent, where the file system cannot show another owner."""
    for path in (folder, *folder.iterdir()):
        os.chown(path, uid, uid, follow_symlinks=path == folder)


def _bind(root: Path, source: str, inside: str, attributes: int) -> None:
    target = _target(root, inside, is_folder=Path(source).is_dir())
    kernel.mount(source, str(target), "", kernel.MS_BIND | kernel.MS_REC)
    kernel.set_mount_attributes(kernel.AT_FDCWD, str(target), attributes)


def _bind_mapped(
    root: Path,
    source: str,
    inside: str,
    attributes: int,
    owner_map: OwnerMap,
    mappings: dict[tuple[int, int], int],
) -> bool:
    """Bind with the owner shown as the agent; False where the file system cannot do it."""
    found = Path(source).stat()
    owner = (found.st_uid, found.st_gid)
    mapping = mappings.get(owner, -1)
    if mapping < 0 or owner_map.served_by_root:
        mapping = namespaces.open_id_mapping(
            owner, owner_map.uid, served_by_root=owner_map.served_by_root
        )
    try:
        tree = kernel.call("open_tree", kernel.AT_FDCWD, os.fsencode(source),
                           kernel.OPEN_TREE_CLONE | os.O_CLOEXEC)  # fmt: skip
        try:
            kernel.set_mount_attributes(
                tree, "", attributes | kernel.MOUNT_ATTR_IDMAP, userns_fd=mapping
            )
            target = _target(root, inside, is_folder=stat.S_ISDIR(found.st_mode))
            kernel.call("move_mount", tree, b"", kernel.AT_FDCWD, os.fsencode(target),
                        kernel.MOVE_MOUNT_F_EMPTY_PATH)  # fmt: skip
        finally:
            os.close(tree)
    except OSError:
        return False
    finally:
        if mapping not in mappings.values():
            os.close(mapping)
    return True


def _target(root: Path, inside: str, *, is_folder: bool) -> Path:
    target = root / inside.lstrip("/")
    _refuse_links(root, target)
    if is_folder:
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.touch()
    return target


def _refuse_links(root: Path, target: Path) -> None:
    """Stop where a link, planted in a writable mount by an earlier agent, would lead out of the root."""
    place = target
    while place != root:
        if place.is_symlink():
            raise OSError(errno.ELOOP, f"a mount point lies behind a link: {place}")
        place = place.parent


def _proc(root: Path, rules: dict[str, int], *, writable: bool) -> None:
    """Mount the sandbox's own /proc, read-only; a machine that masks its own gives an empty one."""
    proc = root / "proc"
    proc.mkdir()
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    try:
        kernel.mount(
            "proc", str(proc), "proc", flags | (0 if writable else kernel.MS_RDONLY), "hidepid=2"
        )
    except OSError:
        return
    rules["/proc"] = landlock.READ
    for name in _HIDDEN_OF_PROC:
        if (proc / name).exists():
            kernel.mount("/dev/null", str(proc / name), "", kernel.MS_BIND)


def _proc_again(root: Path, rules: dict[str, int]) -> None:
    """Put a /proc that may be written in the place of the one that every root begins with."""
    proc = root / "proc"
    if "/proc" in rules:
        kernel.call("umount2", os.fsencode(proc), kernel.MNT_DETACH)
    proc.rmdir()
    _proc(root, rules, writable=True)


def _enter(root: Path) -> None:
    """Make the new root the only one."""
    os.chdir(root)
    kernel.call("pivot_root", b".", b".")
    kernel.call("umount2", b".", kernel.MNT_DETACH)
    os.chdir("/")
    flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | _TMPFS
    kernel.mount("none", "/", "", flags)


def gate_mount(directory: str) -> MountPlan:
    """Return the mount that holds the node's sockets."""
    return MountPlan(directory, GATE_INSIDE, writable=False, ours=True)
