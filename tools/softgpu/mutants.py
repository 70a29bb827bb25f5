#!/usr/bin/env python3
"""Faults put into the device code, one at a time, to see which check finds each.

    mutants.py FOLDER            # puts all of them into a copy of the project
    mutants.py --names           # their names

In the copy each fault waits for its name in the variable ENTK_MUTANT, so that one build has them
all. A line that is not found, or found twice, is an error: the list must follow the code.
"""

import pathlib
import sys

SWITCH = """
#[allow(missing_docs)]
pub fn mutant(name: &str) -> bool {
    static WANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    WANTED.get_or_init(|| std::env::var("ENTK_MUTANT").unwrap_or_default()) == name
}
"""
DEVICE = "crates/entk-device/src/device"
GRAM = "crates/entk-gram/src/device"


def choose(name, wrong, right, crate="crate"):
    return f'(if {crate}::mutant("{name}") {{ {wrong} }} else {{ {right} }})'


def swap(name, file, at, right, wrong, crate="crate"):
    """Within the unique text `at`, the expression `right` becomes a choice."""
    assert at.count(right) >= 1, (name, right)
    return name, file, at, at.replace(right, choose(name, wrong, right, crate), 1)


GEMM = "            right.operation,\n            left.operation,\n            n,\n            m,\n            k,\n"
EDITS = [
    # Launches.
    swap("short output", f"{DEVICE}/mod.rs", "device.alloc::<T>(launch.output())?", "launch.output()",
         "launch.output() - launch.output().min(5)"),
    swap("offset of inputs lost", f"{DEVICE}/mod.rs",
         "Ok(storage.as_cuda_slice::<T>()?.slice(start..end))", "start..end", "0..end - start"),
    swap("f64 text for f32", f"{DEVICE}/mod.rs", "launch.source(), T::DTYPE == DType::F64)?",
         "T::DTYPE == DType::F64", "T::DTYPE != DType::F64"),
    ("count and sizes swapped", f"{DEVICE}/mod.rs", "    builder.arg(&count).arg(&sizes);\n",
     '    if crate::mutant("count and sizes swapped") {\n        builder.arg(&sizes).arg(&count);\n'
     "    } else {\n        builder.arg(&count).arg(&sizes);\n    }\n"),
    swap("grid rounded down", f"{DEVICE}/mod.rs", "grid_dim: (count.div_ceil(BLOCK), 1, 1),",
         "count.div_ceil(BLOCK)", "count / BLOCK"),
    swap("block too large", f"{DEVICE}/mod.rs", "block_dim: (BLOCK, 1, 1),", "BLOCK", "8 * BLOCK"),
    swap("an argument too few", f"{DEVICE}/mod.rs", "(views.len()..MOST_INPUTS).for_each(", "MOST_INPUTS",
         "MOST_INPUTS - 1"),
    swap("one module for both types", f"{DEVICE}/mod.rs",
         'source.name(), if double { 64 } else { 32 });', "if double { 64 } else { 32 }", "32"),
    swap("no events with several devices", f"{DEVICE}/mod.rs", "    if device_count() == 1 {\n",
         "device_count() == 1", "true"),
    # Products.
    swap("offset of the sum lost", f"{DEVICE}/blas.rs", "slice_mut(c_layout.start_offset()..)",
         "c_layout.start_offset()", "0"),
    swap("operations swapped", f"{DEVICE}/blas.rs", GEMM, "right.operation", "left.operation"),
    swap("rows and columns swapped", f"{DEVICE}/blas.rs", "let (m, n, k) = (int(m)?, int(n)?, int(k)?);",
         "(int(m)?, int(n)?, int(k)?)", "(int(n)?, int(m)?, int(k)?)"),
    swap("a column less", f"{DEVICE}/blas.rs", "let (left, right) = (Transposed::of(a_layout)?,",
         "Transposed::of(a_layout)?", "{ k -= 1; Transposed::of(a_layout)? }"),
    swap("leading dimension of the sum", f"{DEVICE}/blas.rs", "            into.leading,\n            compute,",
         "into.leading", "n"),
    swap("leading dimension of a transposed operand", f"{DEVICE}/blas.rs",
         "(sys::cublasOperation_t::CUBLAS_OP_T, step.max(rows))", "step.max(rows)", "step.max(rows) + 1"),
    ("sum overwritten", f"{DEVICE}/blas.rs", "            one.cast(),\n            c as *mut _,",
     '            (if crate::mutant("sum overwritten") { ZERO.as_ptr().cast() } else { one.cast() }),\n'
     "            c as *mut _,"),
    swap("f32 rounded to tf32", f"{DEVICE}/blas.rs",
         "Precision::F32 => add::<f32, f32>([single; 2], Compute::CUBLAS_COMPUTE_32F, 1f32, c, a, b),",
         "Compute::CUBLAS_COMPUTE_32F", "Compute::CUBLAS_COMPUTE_32F_FAST_TF32"),
    # Copies to the host, and between devices.
    ("copy does not wait", f"{DEVICE}/pinned.rs",
     "            stream.join(&storage.device().cuda_stream()).w()?;\n",
     '            if crate::mutant("the device waits for the copy") {\n'
     "                storage.device().cuda_stream().join(stream).w()?;\n"
     '            } else if !crate::mutant("copy does not wait") && !crate::mutant("copy waits for itself") {\n'
     "                stream.join(&storage.device().cuda_stream()).w()?;\n            }\n"),
    ("the device waits for the copy",),
    ("copy waits for itself", f"{DEVICE}/pinned.rs",
     "            let (source, _read) = view.device_ptr(stream);\n",
     "            let own = storage.device().cuda_stream();\n"
     '            let by = if crate::mutant("copy waits for itself") { &own } else { stream };\n'
     "            let (source, _read) = view.device_ptr(by);\n"),
    swap("buffer read too early", f"{DEVICE}/pinned.rs", "let waited = done.synchronize().w();",
         "done.synchronize().w()", "Ok(())"),
    swap("last entry not copied", f"{DEVICE}/pinned.rs",
         "let entries = &mut buffer.as_mut_slice().w()?[..end - start];", "end - start",
         "end - start - 1"),
    ("source does not wait for a transfer", "crates/entk-device/src/transfer/mod.rs",
     "    device.synchronize()?;\n",
     '    if !crate::mutant("source does not wait for a transfer") {\n        device.synchronize()?;\n    }\n'),
    swap("inputs go to another device twice", f"{GRAM}/run.rs",
         "let inputs = to_device(&ntk.inputs, device)?;", "to_device(&ntk.inputs, device)?",
         "{ to_device(&ntk.inputs, device)?; to_device(&ntk.inputs, device)? }", "entk_device"),
    ("an error does not end the work of other devices", f"{GRAM}/multi_device.rs",
     "                watch.fail();\n",
     '                if !entk_device::mutant("an error does not end the work of other devices") {\n'
     "                    watch.fail();\n                }\n"),
    # Plans.
    swap("plan of a sweep of one example", f"{GRAM}/plan.rs",
         "return Ok(constant + example * micro_batch as u64);", "example * micro_batch as u64",
         "example", "entk_device"),
    swap("plan without products of pixels", f"{GRAM}/plan.rs",
         "Form::Pixels => (strips(2 + u64::from(converts)) + tile).max(2 * tile),",
         "(strips(2 + u64::from(converts)) + tile).max(2 * tile)", "2 * tile", "entk_device"),
    # The engine.
    swap("tiles in another order", f"{GRAM}/run.rs", "under_way.pop_front()", "under_way.pop_front()",
         "under_way.pop_back()", "entk_device"),
    swap("first rows of a batch in place of its own", f"{GRAM}/engine.rs",
         "let batch = inputs.narrow(0, start, count)?;", "start", "0", "entk_device"),
    swap("rows of the example before", f"{GRAM}/engine.rs", "kept.narrow(&(*skip..skip + rows))",
         "*skip..skip + rows", "0..*rows", "entk_device"),
    swap("examples of strips swapped", f"{GRAM}/operand.rs",
         "let examples = [self.examples, other.examples];", "[self.examples, other.examples]",
         "[other.examples, self.examples]", "entk_device"),
    swap("bias twice", f"{GRAM}/operand.rs", "dense_tile(&a, &d, &tile, *bias)", "*bias", "!*bias",
         "entk_device"),
    swap("last tiles not taken", f"{GRAM}/run.rs", "    while !copies.is_empty() {\n",
         "!copies.is_empty()", "false", "entk_device"),
    swap("upper triangle missing in products", f"{GRAM}/images.rs", "        if row != col {\n",
         "row != col", "false", "entk_device"),
    ("parameters stay on the first device", f"{GRAM}/run.rs",
     "ntk.moved(ntk.params.to_device(device)?, inputs)",
     'ntk.moved(if entk_device::mutant("parameters stay on the first device") { ntk.params.clone() }'
     " else { ntk.params.to_device(device)? }, inputs)"),
]
# What the replacements need around them.
ALSO = [
    (f"{DEVICE}/blas.rs", "let (m, n, k) = (", "let (m, n, mut k) = ("),
    (f"{DEVICE}/blas.rs", "type View<'a, S>", "const ZERO: [u64; 2] = [0; 2];\ntype View<'a, S>"),
    ("crates/entk-device/src/lib.rs", "mod activation;", SWITCH + "mod activation;"),
]


def main():
    if sys.argv[1:] == ["--names"]:
        print("\n".join(name for name, *_ in EDITS))
        return
    root = pathlib.Path(sys.argv[1])
    for file, old, new in [edit[1:] for edit in EDITS if len(edit) > 1] + ALSO:
        text = (root / file).read_text()
        if text.count(old) != 1:
            sys.exit(f"{file}: {text.count(old)} times {old!r}")
        (root / file).write_text(text.replace(old, new))


if __name__ == "__main__":
    main()
