"""The bundled sample: Debian's source packages and the binary packages they build-depend on.

Run `python data/sample/derive.py` where apt knows the Debian release. The package indices are read
through an apt configuration of its own in a temporary folder, from the mirror and with the keyring
that the machine's apt sources name; the machine's own configuration and lists are only read.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

Stanza = dict[str, str]  # field -> value, continuation lines kept
Pair = tuple[str, str]  # (item, user): binary package, source package
Feature = tuple[str, str, str]  # (item, type, value)

DEPENDENCY_FIELDS = ("Build-Depends", "Build-Depends-Indep", "Build-Depends-Arch")
PACKAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*")
SOURCE_LINE = re.compile(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+(.+)")
APT_HELPER = "/usr/lib/apt/apt-helper"
APT_CONF = """\
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{home}/sources";
Dir::State "{home}/state";
Dir::Cache "{home}/cache";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def run(*command: str) -> str:
    """The output of a command that must succeed."""
    return subprocess.check_output(command, encoding="utf-8")  # noqa: S603 - fixed commands


def stanzas(text: str) -> Iterator[Stanza]:
    """The stanzas of a Debian control file, without comment lines."""
    stanza: Stanza = {}
    field = ""
    for line in [*text.split("\n"), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza = {}
        elif line[0] in " \t":
            stanza[field] += "\n" + line
        else:
            field, _, value = line.partition(":")
            stanza[field] = value.strip()


# apt: where the machine gets Debian from, and the same indices fetched aside


def machine_sources() -> Iterator[Stanza]:
    """Every entry of the machine's apt sources, in either of apt's two formats."""
    names = ("l", "Dir::Etc::sourcelist/f", "d", "Dir::Etc::sourceparts/d")
    found = dict(part.split("=", 1) for part in shlex.split(run("apt-config", "shell", *names)))
    folder = Path(found["d"])
    for path in [Path(found["l"]), *sorted(folder.glob("*.list"))]:
        if path.is_file():
            yield from map(one_line_source, path.read_text("utf-8").splitlines())
    for path in sorted(folder.glob("*.sources")):
        yield from stanzas(path.read_text("utf-8"))


def one_line_source(line: str) -> Stanza:
    """A `deb [options] uri suite components` line as a stanza; empty for any other line."""
    match = SOURCE_LINE.match(line.split("#")[0].strip())
    if not match:
        return {}
    options, uri, suite, components = match.groups(default="")
    source = {"Types": "deb", "URIs": uri, "Suites": suite, "Components": components}
    keys = dict(part.split("=", 1) for part in options.split() if "=" in part)
    return source | ({"Signed-By": keys["signed-by"]} if "signed-by" in keys else {})


def own_sources(sources: Iterable[Stanza], release: str, architecture: str) -> str:
    """The release's entries of `sources`, narrowed to main and widened to source indices."""
    wanted = {release, f"{release}-updates", f"{release}-security"}
    entries: list[Stanza] = []
    for source in sources:
        suites = sorted(wanted.intersection(source.get("Suites", "").split()))
        kinds = {*source.get("Types", "").split(), *source.get("Components", "").split()}
        enabled = source.get("Enabled", "yes").lower() != "no"
        if suites and enabled and kinds >= {"deb", "main"}:
            entry = {"Types": "deb deb-src", "URIs": source["URIs"], "Suites": " ".join(suites)}
            entry |= {"Components": "main", "Architectures": architecture}
            entries.append(entry | {k: source[k] for k in ["Signed-By"] if k in source})
    if not entries:
        raise SystemExit(f"derive.py: the machine's apt sources have no entry for {release}")
    return "\n".join("".join(f"{k}: {v}\n" for k, v in entry.items()) for entry in entries)


def fetch_indices(home: Path, sources: str) -> str:
    """Fetch the indices of `sources` into `home`; the path of the apt configuration used."""
    home.chmod(0o755)  # apt downloads as a user of its own
    for folder in ("sources", "state/lists/partial", "cache/archives/partial"):
        (home / folder).mkdir(parents=True)
    (home / "sources" / "debian.sources").write_text(sources, "utf-8")
    configuration = home / "apt.conf"
    configuration.write_text(APT_CONF.format(home=home), "utf-8")
    run("apt-get", "-c", str(configuration), "-q", "--error-on=any", "update")
    return str(configuration)


def read_index(configuration: str, kind: str) -> list[Stanza]:
    """All stanzas of the `Packages` or the `Sources` indices, suite after suite."""
    command = ("apt-get", "-c", configuration, "indextargets", "--format", "$(FILENAME)")
    paths = sorted(run(*command, f"Created-By: {kind}").splitlines())
    if not paths:
        raise SystemExit(f"derive.py: apt fetched no {kind} index")
    return [stanza for path in paths for stanza in stanzas(run(APT_HELPER, "cat-file", path))]


def release_lines(home: Path) -> Iterator[str]:
    """One line for each suite fetched: its label, version and the date of its indices."""
    for path in sorted((home / "state" / "lists").glob("*Release")):
        head = path.read_text("utf-8").split("MD5Sum:")[0].split("SHA256:")[0]
        fields = {k: v for k, _, v in (line.partition(": ") for line in head.splitlines())}
        yield ", ".join(fields[k] for k in ("Label", "Codename", "Version", "Date") if k in fields)


# the tables: who depends on what, and what is known of it


def dependencies(source: Stanza) -> set[str]:
    """The packages a source package build-depends on, of alternatives the first."""
    clauses = ",".join(source.get(field, "") for field in DEPENDENCY_FIELDS).split(",")
    names = (PACKAGE_NAME.match(clause.strip()) for clause in clauses)
    return {name[0] for name in names if name}


def interactions(sources: Iterable[Stanza]) -> list[Pair]:
    """Each (item, user) once, whatever the number of versions in the indices; sorted."""
    return sorted({(item, s["Package"]) for s in sources for item in dependencies(s)})


def features(packages: Iterable[Stanza], items: set[str]) -> list[Feature]:
    """The tags and the archive section of those `items` that have a binary package; sorted."""
    found: set[Feature] = set()
    for package in packages:
        item = package["Package"]
        if item in items:
            tags = (tag.strip() for tag in package.get("Tag", "").split(","))
            found.update((item, "tag", tag) for tag in tags if tag)
            found.add((item, "category", package["Section"]))
    return sorted(found)


def display_names(packages: Iterable[Stanza]) -> dict[str, str]:
    """Binary package -> `name — synopsis`, of several versions the first in the indices."""
    names: dict[str, str] = {}
    for package in packages:
        name, synopsis = package["Package"], package["Description"].split("\n")[0].strip()
        names.setdefault(name, f"{name} — {synopsis}")
    return names


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Gzipped `|`-separated text, a backslash before `|`, `"` and backslash; no timestamp."""
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter="|", escapechar="\\", quoting=csv.QUOTE_NONE, lineterminator="\n"
    )
    writer.writerows([header, *rows])
    path.write_bytes(gzip.compress(text.getvalue().encode("utf-8"), 9, mtime=0))


def write_sample(folder: Path, sources: list[Stanza], packages: list[Stanza]) -> str:
    """Write both tables; their counts as a line of text."""
    pairs = interactions(sources)
    users, items = {user for _, user in pairs}, {item for item, _ in pairs}
    names = display_names(packages)
    likes = ((names.get(item, item), item, user) for item, user in pairs)
    write_table(folder / "likes.psv.gz", ("modelname", "mid", "uid"), likes)
    known = features(packages, items)
    write_table(folder / "feats.psv.gz", ("mid", "type", "value"), known)
    tags, sections = ({v for _, t, v in known if t == kind} for kind in ("tag", "category"))
    return (
        f"{len(pairs)} likes, {len(users)} users, {len(items)} items; {len(known)} feature rows on "
        f"{len({item for item, _, _ in known})} items: {len(tags)} tags, {len(sections)} categories"
    )


def main() -> None:
    """Derive the sample from the package indices of a Debian release."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--release", default="bookworm", help="codename (%(default)s)")
    parser.add_argument("--architecture", default="amd64", help="binary index (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="output folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        own = own_sources(machine_sources(), options.release, options.architecture)
        configuration = fetch_indices(home, own)
        print(*release_lines(home), sep="\n")
        sources = read_index(configuration, "Sources")
        packages = read_index(configuration, "Packages")
    options.out.mkdir(parents=True, exist_ok=True)
    print(write_sample(options.out, sources, packages))


if __name__ == "__main__":
    main()
