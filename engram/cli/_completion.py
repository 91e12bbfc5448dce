"""`--install-completion`: have the shell complete commands and options."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from engram.cli._shell import OK, epilogue, say
from engram.cli._target import UsageError
from engram.cli._text import paragraphs, printable

if TYPE_CHECKING:
    from cyclopts import App

_RELOAD = {"bash": "exec bash", "zsh": "exec zsh", "fish": "exec fish"}


def add_completion(app: App) -> None:
    """Give a program the command `--install-completion`."""
    [program, *_] = app.name

    def install_completion(
        *,
        shell: Annotated[
            Literal["bash", "zsh", "fish"] | None, Parameter(help="The shell to teach; yours if left out.")
        ] = None,
        output: Annotated[
            Path | None,
            Parameter(name=["--output", "-o"], help="Write the script here, and leave the shell's own files alone."),
        ] = None,
    ) -> int:
        """Install completion for your shell: bash, zsh or fish.

        Writes a script to where the shell looks for it, and for bash and zsh a line into ~/.bashrc or ~/.zshrc.
        """
        from cyclopts.completion.detect import ShellDetectionError, detect_shell

        try:
            known = shell or detect_shell()
        except ShellDetectionError:
            raise UsageError("cannot tell which shell this is; name it with --shell") from None
        if known not in _RELOAD:
            raise UsageError(f"no completion for {known}; --shell names another")
        try:
            path = app.install_completion(shell=known, output=output, add_to_startup=output is None)
        except RuntimeError as error:  # no home
            raise UsageError(f"{error}; --output names a place") from None
        say(f"wrote {printable(str(path))}\nit works in a new shell, or now: {_RELOAD[known]}")
        return OK

    app.command(
        install_completion,
        name="--install-completion",
        help=paragraphs(install_completion.__doc__ or ""),
        help_epilogue=epilogue([f"{program} --install-completion", f"{program} --install-completion --shell zsh"]),
        sort_key=len(list(app)),
    )
