"""Runs the notebook from top to bottom, as a reader would, and says how long it took; the notebook
itself stays without outputs.

    python python/examples/run_notebook.py [--out FOLDER]

Needs entk, torch, torchvision, matplotlib, nbclient, ipykernel. With --out the notebook with its
outputs is written there, and its pictures as PNG."""

import argparse
import base64
import pathlib
import time

import nbclient
import nbformat

NOTEBOOK = pathlib.Path(__file__).with_name("resnet_spectrum.ipynb")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=pathlib.Path)
    out = parser.parse_args().out
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    start = time.perf_counter()
    nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        for output in cell.outputs:
            if output.output_type == "stream":
                print(output.text, end="")
    print(f"{len(cells)} cells in {time.perf_counter() - start:.0f} s")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, out / NOTEBOOK.name)
        images = [
            output.data["image/png"]
            for cell in cells
            for output in cell.outputs
            if "image/png" in output.get("data", {})
        ]
        for number, image in enumerate(images, 1):
            (out / f"figure{number}.png").write_bytes(base64.b64decode(image))


if __name__ == "__main__":
    main()
