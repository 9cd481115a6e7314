"""The tables for papers go through a real LaTeX."""

import shutil
import subprocess

import pytest

import report
from fakes import make_plan, make_results

LATEX = shutil.which("pdflatex")
FRAME = r"""\documentclass[twocolumn]{article}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,graphicx}
\begin{document}
See Table~\ref{tab:weight-noise}.
\input{table.tex}
\begin{table*}\resizebox{\textwidth}{!}{\input{table-full.tex}}\end{table*}
\begin{figure*}\includegraphics[width=\textwidth]{robustness.pdf}\end{figure*}
\end{document}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latex")
    report.rebuild(make_results(folder, make_plan(alphas=(0, 0.1, 0.5, 2.0), draws=2)))
    return folder


def test_the_table_has_caption_label_and_both_numbers(made):
    text = (made / "table.tex").read_text()
    assert r"\caption{" in text and r"\label{tab:weight-noise}" in text and text.isascii()
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "&" in line]
    assert len(rows) == 1 + 2 and {row.count("&") for row in rows} == {4}
    assert r"$\times$" in rows[0] and all(r"$\pm$" in row and "[" in row for row in rows[1:])


def test_figures_have_fonts_that_publishers_take(made):
    for path in made.glob("*.pdf"):
        body = path.read_bytes()
        assert b"/Type3" not in body and b"/FontFile2" in body, path.name


@pytest.mark.slow
@pytest.mark.skipif(not LATEX, reason="no pdflatex, which texlive-latex-base has")
def test_the_tables_compile_and_the_small_one_fits_a_page(made):
    (made / "paper.tex").write_text(FRAME)
    words = [LATEX, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):  # references are known the second time
        done = subprocess.run(words, cwd=made, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    log = (made / "paper.log").read_text(errors="replace")
    assert "There were undefined" not in log and "Overfull" not in log
    assert (made / "paper.pdf").stat().st_size > 10_000
