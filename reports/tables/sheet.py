"""A table of the page, and the same as Markdown and LaTeX to paste."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FORMS = {"Markdown": "md", "LaTeX": "tex"}

# What LaTeX takes for a command, and what pdfLaTeX does not know.
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{each: f"\\{each}" for each in "&%$#_{}"},
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≤": r"$\le$", "√": r"$\surd$", "∝": r"$\propto$", "…": r"\ldots{}",
    "–": "--", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "η": r"$\eta$", "σ": r"$\sigma$", "μ": r"$\mu$",
    "κ": r"$\kappa$", "λ": r"$\lambda$", "\N{SUPERSCRIPT TWO}": "$^2$", "\N{ZERO WIDTH SPACE}": "",
})  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column's title, what stands small below it, and whether its cells are numbers, which stand to the right."""

    title: str
    small: str = ""
    number: bool = True

    @property
    def line(self) -> str:
        return f"{self.title} {self.small}".strip()


@dataclass(frozen=True)
class Sheet:
    """`rows` hold a text a column; what follows a line break in a text is a remark. `name`: of the files.

    `heads`: the columns that say what a row is. `marks`: CSS classes, row by row.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    heads: frozenset[int] = frozenset({0})
    marks: tuple[str, ...] = ()

    def mark(self, row: int) -> str:
        """The classes of a row; empty for none."""
        return self.marks[row] if self.marks else ""

    def markdown(self) -> str:
        """A pipe table under its caption."""
        rule = ["---:" if column.number else "---" for column in self.columns]
        lines = [[column.line for column in self.columns], rule, *(map(_remarked, row) for row in self.rows)]
        return f"{self.caption}\n\n" + "".join(_pipes(line) for line in lines)

    def latex(self) -> str:
        """A floating table for the package booktabs."""
        sides = "".join("r" if column.number else "l" for column in self.columns)
        body = "".join(_ampersands(map(_remarked, row)) for row in self.rows)
        return (
            "\\begin{table}\n  \\centering\n"
            f"  \\caption{{{self.caption.translate(_LATEX)}}}\n  \\begin{{tabular}}{{{sides}}}\n    \\toprule\n"
            f"{_ampersands(column.line for column in self.columns)}    \\midrule\n{body}    \\bottomrule\n"
            "  \\end{tabular}\n\\end{table}\n"
        )


def save_sheets(sheets: Sequence[Sheet], out: Path) -> None:
    """Each as NAME.md and NAME.tex in the directory `out`."""
    for sheet in sheets:
        (out / f"{sheet.name}.md").write_text(sheet.markdown(), encoding="utf-8")
        (out / f"{sheet.name}.tex").write_text(sheet.latex(), encoding="utf-8")


def _remarked(cell: str) -> str:
    text, _, remark = cell.partition("\n")
    return f"{text} ({remark})" if remark else text


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _ampersands(cells: Iterable[str]) -> str:
    return "    " + " & ".join(cell.translate(_LATEX) for cell in cells) + " \\\\\n"
