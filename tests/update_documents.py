"""Write every output, figure and repeated text in the documents anew: python tests/update_documents.py [DOCUMENT ...]

Outputs come from real runs, tables and code from the files that have them. Commands and programs stay as they are.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import documents


def update(document: Path) -> list[str]:
    """Write a document anew. Returns the first line of everything that has changed."""
    new = {place: wanted for _, wanted, place in documents.repeated(document)}
    for example in documents.examples(document):
        place = (example.output.start, example.output.end)
        if place not in new:  # a program for both packages has one output
            with tempfile.TemporaryDirectory() as folder:
                printed = documents.run(example, Path(folder))
                figure = example.output.note("figure")
                if figure:
                    drawn, kept = figure.split(": ")
                    shutil.copyfile(Path(folder) / drawn, documents.TOP / kept)
            new[place] = documents.excerpt(example.output.text, printed)
    text, changed = document.read_text(encoding="utf-8"), []
    for (start, end), wanted in sorted(new.items(), reverse=True):
        if text[start:end] != wanted:
            changed.append(wanted.partition("\n")[0])
        text = text[:start] + wanted + text[end:]
    document.write_text(text, encoding="utf-8")
    return changed[::-1]


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or documents.DOCUMENTS):
        changed = update(path.resolve())
        print(f"{path}: {len(changed)} changed", *changed, sep="\n    ")
