"""What the shell is offered for an option's value, and the scripts that ask for it.

typer answers shells; its scripts miss that bash divides words at `=` and `:`, that zsh and fish want `--option=` before
a value, and that zsh calls the file itself where it is found in its path.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from vrx import api, configuration

MASK_KINDS = ("overlays", "dust", "scratches", "pixels")
SPEEDS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
DEVICES = ("auto", "all", "cpu", "cuda", "cuda:0", "mps")


def complete_models(incomplete: str) -> list[str]:
    """Names of models, for the shell; files are completed by the shell itself."""
    return [name for name in ("auto", *api.model_names()) if name.startswith(incomplete)]


def complete_catalogue(incomplete: str) -> list[str]:
    """Names of the catalogue's models, for the shell."""
    return [name for name in api.model_names() if name.startswith(incomplete)]


def complete_devices(incomplete: str) -> list[str]:
    """Devices, for the shell."""
    return [name for name in DEVICES if name.startswith(incomplete)]


def complete_codecs(incomplete: str) -> list[str]:
    """Short names of codecs, for the shell."""
    return [name for name in ("auto", *api.codecs()) if name.startswith(incomplete)]


def complete_words(*words: str) -> Callable[[str], list[str]]:
    """Completes the words among an option's values, for the shell; numbers are typed."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def complete_kinds(incomplete: str) -> list[str]:
    """What `vrx mask` finds, for the shell: after a comma one that is not named yet."""
    named, comma, word = incomplete.rpartition(",")
    kinds = [kind for kind in ("all", *MASK_KINDS) if kind.startswith(word)]
    return [f"{named}{comma}{kind}" for kind in kinds if not comma or kind not in ("all", *named.split(","))]


def complete_presets(incomplete: str) -> list[str]:
    """Names of presets, for the shell."""
    return [name for name in (*configuration.preset_names(), configuration.NO_PRESET) if name.startswith(incomplete)]


def complete_choices(options: dict[str, Any], context: Any, incomplete: str) -> list[str]:
    """`OPTION=VALUE,VALUE` of `--vary`, for the shell: an option's name, then the words among its values, each once."""
    name, sign, values = incomplete.partition("=")
    if not sign:
        return [f"{option}=" for option in options if option.startswith(name)]
    if name not in options:
        return []
    before, comma, word = values.rpartition(",")
    found = (item.value for item in options[name].shell_complete(context, word))
    return [f"{name}={before}{comma}{value}" for value in found if value not in before.split(",")]


ASK = "_TYPER_COMPLETE_FISH_ACTION=get-args %(autocomplete_var)s=complete_fish %(prog_name)s 2>/dev/null"
BASH = rf"""
%(complete_func)s() {{
    local IFS=$'\n' line="${{COMP_LINE:0:COMP_POINT}}" word reply
    word="${{line##* }}"
    [[ "$word" == *[=:]* ]] && word="${{word%%"${{word##*[=:]}}"}}" || word=""
    COMPREPLY=()
    for reply in $(_TYPER_COMPLETE_ARGS="$line" {ASK}); do
        reply="${{reply%%%%$'\t'*}}"
        COMPREPLY+=("${{reply#"$word"}}")
        [[ "$reply" == *= ]] && compopt -o nospace
    done
}}

complete -o default -F %(complete_func)s %(prog_name)s
"""
ZSH = rf"""
#compdef %(prog_name)s

%(complete_func)s() {{
    local -a found described
    local line
    found=("${{(@f)$(_TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {ASK})}}")
    [[ $PREFIX == --*=* ]] && compset -P '*='
    if [[ -z "$found" ]]; then
        _files
    elif [[ "$found[1]" == *= ]]; then
        compadd -S '' -a found
    else
        for line in $found; do
            described+=("${{${{line%%%%$'\t'*}}//:/\\:}}:${{${{line#*$'\t'}}:#$line}}")
        done
        _describe value described
    fi
}}

if [[ $zsh_eval_context[-1] == (loadautofunc|shfunc) ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
FISH = rf"""
function %(complete_func)s
    set -l option (string match -r -- '^--[^=]+=' (commandline -ct)); or set option ''
    set -l found (env _TYPER_COMPLETE_ARGS=(commandline -cp) {ASK} | string match -r -- '.+')
    or set found (__fish_complete_path (string replace -r -- '^--[^=]+=' '' (commandline -ct)))
    printf '%%s\n' $option$found
end

complete --command %(prog_name)s --no-files --arguments "(%(complete_func)s)"
"""


def use_own_scripts() -> None:
    """Have typer print and install these scripts; a typer that has no such places keeps its own."""
    with contextlib.suppress(ImportError, AttributeError):
        from typer import _completion_classes as classes
        from typer import _completion_shared as shared

        shared._completion_scripts.update(bash=BASH, zsh=ZSH, fish=FISH)
        for shell, script in ((classes.BashComplete, BASH), (classes.ZshComplete, ZSH), (classes.FishComplete, FISH)):
            shell.source_template = script.strip()
