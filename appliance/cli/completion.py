"""What a shell may offer after `vc5 ...`, from the table of verbs; services and backends are the running daemon's.

The shells ask the command itself (`vc5 completion bash =drain =203`), so that there is one completion and not one for
each of them. An equals sign before each word keeps them from being read as options of this one. The answer is a line
for each offer, with a tab before what it means; or `:files`, for the shell's own files.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from appliance.cli.arguments import JSON, ROOT, VERSION, Argument, Names, Verb
from appliance.paths import Root

FILES = ":files"
"""The answer where a path is wanted."""
Known = Callable[[Names, str], Iterable[str]]
"""The names of a kind; of backends those of the service that was named, which may be none."""

BASH = r"""# bash completion for vc5. Readline ends words at colons, so what stands before the last one is not repeated.
_vc5() {
    local line=${COMP_LINE:0:COMP_POINT} offer before
    local -a words
    read -ra words <<<"$line"
    words=("${words[@]:1}")
    [[ $line == *[[:blank:]] ]] && words+=('')
    COMPREPLY=()
    while IFS= read -r offer; do
        [[ $offer == :files ]] && { compopt -o default -o filenames 2>/dev/null; return; }
        COMPREPLY+=("${offer%%$'\t'*}")
    done < <("$1" completion bash "${words[@]/#/=}" 2>/dev/null)
    before=${words[-1]}
    before=${before%"${before##*:}"}
    [[ $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"$before"}")
    return 0
}
complete -F _vc5 vc5
"""
ZSH = r"""#compdef vc5
_vc5() {
    local offer
    local -a values shown
    while IFS= read -r offer; do
        [[ $offer == :files ]] && { _files; return; }
        values+=("${offer%%$'\t'*}")
        shown+=("${offer/$'\t'/  -- }")
    done < <("${words[1]}" completion zsh "=${(@Q)^words[2,CURRENT]}" 2>/dev/null)
    (( $#values )) && compadd -l -d shown -a values
}
if [[ $funcstack[1] == _vc5 ]]; then _vc5 "$@"; else compdef _vc5 vc5; fi
"""
FISH = r"""# fish completion for vc5
function __vc5_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l offers ($words[1] completion fish "="$words[2..-1] "=$current" 2>/dev/null)
    if test "$offers" = ":files"
        __fish_complete_path "$current"
    else
        printf '%s\n' $offers
    end
end
complete -c vc5 -f -k -a '(__vc5_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 completion SHELL [WORDS]`: the script, or what the last word may become; a missing daemon is none."""
    import json

    if not arguments.words:
        script = SCRIPTS[arguments.shell]
        print(json.dumps({"text": script}) if arguments.json else script, end="")
        return 0
    from appliance.cli.tables import printable
    from appliance.cli.verbs import VERBS

    words = [word.removeprefix("=") for word in arguments.words]
    found = offers(VERBS, words, _known(root, words))
    if arguments.json:
        print(json.dumps(dict(found)))
    else:
        for value, text in found:
            print(f"{printable(value)}\t{text}" if text else printable(value))
    return 0


def offers(verbs: Sequence[Verb], words: Sequence[str], known: Known) -> list[tuple[str, str]]:
    """Return what the last word may become, each with what it means; or FILES alone."""
    *done, current = words
    found = list(_after(verbs, done, current.startswith("-"), known))
    if any(value == FILES for value, _ in found):
        return [(FILES, "")]
    return [offer for offer in found if offer[0].startswith(current)]


def _after(verbs: Sequence[Verb], done: Sequence[str], option: bool, known: Known) -> Iterator[tuple[str, str]]:
    """Yield what may come after these words; `option` where a flag was begun."""
    verb: Verb | None = None
    used: list[str] = []
    waits: Argument | None = None  # for its value
    service = ""
    for word in done:
        if waits is not None:
            service = word if waits.names is Names.SERVICE else service
            waits = None
        elif word.startswith("-"):
            waits = next((one for one in _options(verb) if one.name == word and one.takes_value), None)
            used.append(word)
        elif verb is None:
            verb = next((one for one in verbs if one.name == word), None)
            if verb is None:
                return
            positions = [one for one in verb.arguments if not one.is_option]
        elif positions:
            service = word if positions[0].names is Names.SERVICE else service
            if positions[0].settings.get("nargs") != "*":
                positions.pop(0)
    if waits is not None:
        yield from _values(waits, service, known)
    elif option:
        barred = {one.name for one in verb.alternatives} if verb else set()
        barred = barred if barred & set(used) else set()
        for one in _options(verb):
            if (one.name not in used or one.settings.get("action") == "append") and one.name not in barred:
                yield one.name, one.help
    elif verb is None:
        yield from ((one.name, one.help) for one in verbs)
    elif positions:
        yield from _values(positions[0], service, known)


def _options(verb: Verb | None) -> list[Argument]:
    if verb is None:
        return [VERSION, ROOT]
    return [one for one in (*verb.arguments, *verb.alternatives) if one.is_option] + [JSON, ROOT]


def _values(argument: Argument, service: str, known: Known) -> Iterator[tuple[str, str]]:
    if argument.names is Names.FILE:
        yield FILES, ""
    elif argument.names is not None:
        yield from ((name, "") for name in (*argument.words, *known(argument.names, service)))
    else:
        yield from ((str(choice), "") for choice in argument.settings.get("choices", ()))


def _known(root: Root, words: Sequence[str]) -> Known:
    """Return the names that the running daemon tells; none where there is no daemon."""

    def names(kind: Names, service: str) -> Iterable[str]:
        from appliance import paths
        from appliance.cli.client import ask
        from appliance.errors import Vc5Error

        at = words.index(ROOT.name) + 1 if ROOT.name in words[:-2] else 0
        try:
            return told(ask(paths.root(words[at]) if at else root, "status"), kind, service)
        except (Vc5Error, OSError):
            return ()

    return names


def told(status: Any, kind: Names, service: str) -> list[str]:
    """Return the names of a kind in the daemon's status."""
    rows = [row for row in _rows(status, "services") if not service or row.get("service") == service]
    if kind is Names.INTERFACE:
        found = [row.get("name") for row in _rows(status, "interfaces")]
    elif kind is Names.SERVICE:
        found = [row.get("service") for row in _rows(status, "services")]
    elif kind is Names.PEER:
        found = [row.get("address") for row in _rows(status.get("bgp") if isinstance(status, dict) else None, "peers")]
    else:
        found = [backend.get("address") for row in rows for backend in _rows(row, "backends")]
    return list(dict.fromkeys(str(name) for name in found if name))


def _rows(body: Any, name: str) -> list[dict[str, Any]]:
    rows = body.get(name) if isinstance(body, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
