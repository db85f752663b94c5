"""The volumes of a pod as folders, and the mounts of a container as symlinks below its root.

Files of ConfigMaps and Secrets are replaced whole (write, then rename), so a reader never sees half of one, and only
when their content changed. What is missing is a MountError in the kubelet's words; the pod waits and tries again.
"""

from pathlib import Path

from videofleet_devcluster.client import CLAIMS, CONFIG_MAPS, SECRETS, VOLUMES, Resource
from videofleet_devcluster.node.environment import ConfigError, Find, data_of
from videofleet_devcluster.objects import Object, key_of

Contents = dict[str, bytes]


class MountError(Exception):
    """A volume cannot be mounted yet."""

    def __init__(self, volume: str, cause: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {cause}')


def place_volume(volume: Object, pod: Object, find: Find, folder: Path, token: str) -> Path:
    """Makes the folder of an entry of spec.volumes as it should be now and returns where it is. Raises MountError.

    `folder` is the place for volumes that belong to the pod alone, `token` the pod's, for projected ones.
    """
    try:
        contents = _contents(volume, pod, find, token)
        if contents is not None:
            _write(folder, contents)
            return folder
        if "hostPath" in volume:
            return _host_folder(volume["hostPath"])
        if "persistentVolumeClaim" in volume:
            return _claimed_folder(volume["persistentVolumeClaim"]["claimName"], key_of(pod)[0], find)
        if "emptyDir" not in volume:
            kinds = ", ".join(name for name in volume if name != "name")
            raise ConfigError(f"volumes of type {kinds or 'none'} are not supported by this node")
    except ConfigError as error:
        raise MountError(volume["name"], str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _contents(volume: Object, pod: Object, find: Find, token: str) -> Contents | None:
    """The files of a volume made of API objects; None for other kinds. Raises ConfigError."""
    found: Contents = {}
    for source in volume["projected"]["sources"] if "projected" in volume else [volume]:
        part = _part(source, pod, find, token)
        if part is None:
            return None
        found |= part
    return found


def _part(source: Object, pod: Object, find: Find, token: str) -> Contents | None:
    for name, kind in (("secret", SECRETS), ("configMap", CONFIG_MAPS)):
        if name in source:
            return _picked(kind, source[name], data_of(kind, source[name], key_of(pod)[0], find) or {})
    if "serviceAccountToken" in source:
        return {source["serviceAccountToken"]["path"]: token.encode()}
    return None


def _picked(kind: Resource, reference: Object, data: Contents) -> Contents:
    items: list[Object] | None = reference.get("items")
    if items is None:
        return data
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not reference.get("optional"):
        raise ConfigError(f"references non-existent {kind.kind.lower()} key: {missing[0]}")
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


def _host_folder(host_path: Object) -> Path:
    path = Path(host_path["path"])
    if host_path.get("type") == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        raise ConfigError(f"hostPath type check failed: {path} is not a directory")
    return path


def _claimed_folder(name: str, namespace: str, find: Find) -> Path:
    claim = find(CLAIMS, namespace, name)
    if claim is None:
        raise ConfigError(f'persistentvolumeclaim "{name}" not found')
    volume = find(VOLUMES, "", claim["spec"].get("volumeName", ""))
    if volume is None:
        raise ConfigError(f'persistentvolumeclaim "{name}" is not bound')
    if "hostPath" not in volume["spec"]:
        raise ConfigError(f"{volume['metadata']['name']} is no hostPath volume; this node mounts no other")
    return _host_folder(volume["spec"]["hostPath"])


def _write(folder: Path, contents: Contents) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in contents.items():
        target = folder / name
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(f".{target.name}.new")
            fresh.write_bytes(content)
            fresh.replace(target)
    for path in folder.rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in contents:
            path.unlink()


def mount(container: Object, root: Path, folders: dict[str, Path]) -> None:
    """Makes each mountPath below `root` a symlink to its volume. Raises MountError."""
    for entry in container.get("volumeMounts") or []:
        if entry["name"] not in folders:
            raise MountError(entry["name"], "the pod has no such volume")
        source, place = folders[entry["name"]] / entry.get("subPath", ""), root / entry["mountPath"].strip("/")
        if "subPath" in entry and not source.exists():
            source.mkdir(parents=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(source)
